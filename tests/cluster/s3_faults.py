"""A proxy before an S3 server that answers questions about objects and fails when they are read."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ERROR = (
    b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>InternalError</Code><Message>We encountered an internal '
    b"error. Please try again.</Message></Error>"
)


@contextmanager
def faulty(endpoint: str, fault: str, fails: Callable[[str], bool]) -> Iterator[str]:
    """Give the address of the proxy: a GET of an object whose path ``fails`` is answered with the ``fault``.

    ``500``: the server's internal error. ``cut``: half of the bytes that were announced, and the connection closed.
    """
    target = endpoint.removeprefix("http://")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Proxy, target, fault, fails))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        with suppress(OSError):
            server.shutdown()
            server.server_close()
        thread.join()


class _Proxy(BaseHTTPRequestHandler):
    """Asks the server ``target`` itself, but for what ``fails``."""

    protocol_version = "HTTP/1.1"

    def __init__(self, target: str, fault: str, fails: Callable[[str], bool], *given: Any) -> None:
        self._target, self._fault, self._fails = target, fault, fails
        super().__init__(*given)

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        path = self.path.partition("?")[0]
        hit = self.command == "GET" and "list-type" not in self.path and self._fails(path)
        if hit and self._fault == "500":
            self._send(500, [("Content-Type", "application/xml")], ERROR)
            return
        there = http.client.HTTPConnection(self._target, timeout=30)
        there.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            there.putheader(name, value)
        there.endheaders(body)
        reply = there.getresponse()
        data = reply.read()
        headers = [(n, v) for n, v in reply.getheaders() if n.lower() not in ("transfer-encoding", "connection")]
        self._send(reply.status, headers, data, cut=hit)
        there.close()

    def _send(self, status: int, headers: list[tuple[str, str]], data: bytes, *, cut: bool = False) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() != "content-length":
                self.send_header(name, value)
        known = {name.lower(): value for name, value in headers}
        self.send_header("Content-Length", known.get("content-length", str(len(data))))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data[: len(data) // 2] if cut else data)
        if cut:
            self.close_connection = True

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _answer

    def log_message(self, *_: Any) -> None:
        pass
