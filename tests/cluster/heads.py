"""Heads of Ray clusters, started as people start them: ``ray start --head --block`` as a child, a token its guard."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Head:
    """Where it answers: ``address`` is for RAY_ADDRESS, ``dashboard`` for ``ray job submit``."""

    address: str
    dashboard: str
    metrics: int
    process: subprocess.Popen[bytes]

    def kill(self) -> None:
        """SIGKILL it with all that it started itself, as a machine that goes away would."""
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                if parent == self.process.pid:
                    os.kill(int(folder.name), signal.SIGKILL)
        self.process.kill()


def ray_command() -> str:
    """The command beside the python at hand."""
    return str(Path(sys.executable).parent / "ray")


def guarded() -> dict[str, str]:
    """The environment without what is about Ray, and with a new token."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return environment | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}


@contextmanager
def head_of_its_own(
    environment: Mapping[str, str], *, num_cpus: int, options: Sequence[str] = (), cwd: Path | None = None
) -> Iterator[Head]:
    """A head with ports of its own, once its dashboard answers; ``environment`` has the token and RAY_TMPDIR."""
    token = environment.get("RAY_AUTH_TOKEN") or Path(environment["RAY_AUTH_TOKEN_PATH"]).read_text()
    port, dashboard, metrics = free_port(), free_port(), free_port()
    line = [ray_command(), "start", "--head", "--block", f"--port={port}", f"--num-cpus={num_cpus}"]
    line += ["--node-ip-address=127.0.0.1", f"--dashboard-port={dashboard}", "--include-dashboard=true"]
    line += [f"--dashboard-agent-listen-port={free_port()}"]  # the usual one may be another cluster's
    line += [f"--metrics-export-port={metrics}", *options]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(line, env=environment, stdout=log, stderr=log, cwd=cwd)
        head = Head(
            address=f"127.0.0.1:{port}", dashboard=f"http://127.0.0.1:{dashboard}", metrics=metrics, process=process
        )
        try:
            _wait(head, token)
            yield head
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def _wait(head: Head, token: str) -> None:
    request = urllib.request.Request(f"{head.dashboard}/api/version", headers={"Authorization": f"Bearer {token}"})
    for _ in range(240):
        assert head.process.poll() is None, "the head ended"
        try:
            with urllib.request.urlopen(request, timeout=5):
                return
        except OSError:
            time.sleep(0.5)
    raise AssertionError("the head does not answer")


def free_port() -> int:
    """A port that Ray takes for a head: those from 10002 to 19999 are its workers'."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if not 10_000 <= port < 20_000:
            return port
