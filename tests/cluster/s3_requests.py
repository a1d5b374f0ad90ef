"""What is asked of an S3 server, seen by a relay that stands before it and hands every byte on as it is."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_REQUEST = re.compile(rb"(?:^|\n)((?:GET|PUT|HEAD|POST|DELETE) [^\r\n ]+) HTTP/1\.1\r\n")


@contextmanager
def counted(endpoint: str) -> Iterator[tuple[str, list[str]]]:
    """Give the address of the relay, and the requests that come through it, as method and path, in order."""
    host, _, port = endpoint.removeprefix("http://").partition(":")
    requests: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_serve, args=(server, (host, int(port)), requests), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", requests
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
    thread.join()


def _serve(server: socket.socket, target: tuple[str, int], requests: list[str]) -> None:
    while True:
        try:
            client, _ = server.accept()
        except OSError:
            return
        there = socket.create_connection(target)
        for source, sink, seen in ((client, there, requests), (there, client, None)):
            threading.Thread(target=_relay, args=(source, sink, seen), daemon=True).start()


def _relay(source: socket.socket, sink: socket.socket, seen: list[str] | None) -> None:
    rest = b""
    with suppress(OSError):
        while data := source.recv(1 << 16):
            if seen is not None:
                rest += data
                found = list(_REQUEST.finditer(rest))
                seen += [match[1].decode() for match in found]
                rest = rest[found[-1].end() :] if found else rest[-4096:]
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
