"""A server that answers for RayJobs as the Kubernetes API does, and the script that talks to it."""

from __future__ import annotations

import copy
import importlib.util
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

from .built import K8S

PREFIX = "/apis/ray.io/v1/namespaces/quant/rayjobs"


def script() -> ModuleType:
    """The module of what the CronJob's pod runs."""
    spec = importlib.util.spec_from_file_location("start_daily", K8S / "overlays" / "daily" / "start_daily.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Server:
    """RayJobs by name. Each that is made goes through ``states``, one at a time it is looked at."""

    def __init__(self, template: dict[str, Any]) -> None:
        self.jobs: dict[str, dict[str, Any]] = {template["metadata"]["name"]: copy.deepcopy(template)}
        self.states: list[dict[str, Any]] = [{}]
        self.calls: list[tuple[str, str]] = []
        self.answers: list[int] = []  # codes with which the next calls are refused
        self.now = "2026-01-05T12:00:05Z"
        self.tokens: set[str | None] = set()
        self.made = 0

    def put(self, name: str, made: str, *states: dict[str, Any]) -> None:
        meta = {"name": name, "namespace": "quant", "uid": f"uid-{name}-{self.made}", "creationTimestamp": made}
        self.jobs[name] = {"metadata": meta, "states": list(states)}
        self.made += 1

    def call(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        self.calls.append((method, path.removeprefix(PREFIX)))
        if self.answers:
            return self.answers.pop(0), {"message": "so it is"}
        assert path.startswith(PREFIX)
        name = path.removeprefix(PREFIX).strip("/")
        if method == "POST":
            name = body["metadata"]["name"]
            if name in self.jobs:
                return 409, {"message": "already exists"}
            self.put(name, self.now, *self.states)
            self.jobs[name]["asked"] = body
            return 201, body
        job = self.jobs.get(name)
        if job is None:
            return 404, {"message": "not found"}
        if method == "DELETE":
            assert body["preconditions"]["uid"] == job["metadata"]["uid"]
            del self.jobs[name]
            return 200, {}
        if "states" in job:
            left = job["states"]
            status = left.pop(0) if len(left) > 1 else left[0]
            return 200, {"metadata": job["metadata"], "status": status}
        return 200, job


@contextmanager
def serving(server: Server, identity: Path | None = None) -> Iterator[str]:
    """Let a server answer, and give its address; ``identity``: the file of its certificate and key, over TLS."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            server.tokens.add(self.headers["Authorization"])
            length = int(self.headers.get("Content-Length", 0))
            body = json.loads(self.rfile.read(length)) if length else None
            code, found = server.call(self.command, self.path, body)
            self.send_response(code)
            self.end_headers()
            self.wfile.write(json.dumps(found).encode())

        do_GET = do_POST = do_DELETE = answer

        def log_message(self, format: str, *args: Any) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if identity is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(identity)
        http.socket = context.wrap_socket(http.socket, server_side=True)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    try:
        yield f"http{'s' * (identity is not None)}://127.0.0.1:{http.server_address[1]}"
    finally:
        http.shutdown()
        http.server_close()
