"""Servers that refuse as Amazon's S3 does, a bare status to HEAD and to all else the reason; one without a word."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

STATUS = {"ExpiredToken": 400, "InvalidAccessKeyId": 403, "RequestTimeTooSkewed": 403, "NoSuchBucket": 404}
ACCESS_KEY, SECRET = "AKIAEXAMPLEOFOURS", "a-secret-that-nobody-may-see"


@contextmanager
def refusing(code: str) -> Iterator[dict[str, str]]:
    """The environment of a store that answers every request with a code."""
    body = (
        f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>It says why.</Message>"
        f"<AWSAccessKeyId>{ACCESS_KEY}</AWSAccessKeyId><RequestId>4442587FB7D0A2F9</RequestId></Error>"
    ).encode()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(STATUS[code])
            self.send_header("Content-Type", "application/xml")
            if self.command != "HEAD":
                self.send_header("Content-Length", str(len(body)))
            self.send_header("Connection", "close")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)
            self.close_connection = True

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = answer

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield _leading_to(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def silent() -> Iterator[dict[str, str]]:
    """The environment of a store that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as taking:  # by its backlog: nobody accepts
        yield _leading_to(taking.getsockname()[1])


def _leading_to(port: int) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_SESSION_TOKEN": SECRET,
        "AWS_REGION": "us-east-1",
    }
