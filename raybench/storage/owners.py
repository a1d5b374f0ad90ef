"""Who holds a claim, and whether that process still lives, as far as this one can tell."""

from __future__ import annotations

import json
import os
import socket
import uuid
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

_BOOT, _NAMESPACE = "/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"
_STATE, _STARTED = 0, 19  # of /proc/PID/stat, counted behind the name
_ENDED = ("Z", "X")  # killed, and not yet asked for by its parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Who holds a claim; ``token`` tells two claims of one process apart.

    space: within which its number is its own: a boot of a machine, and a namespace in it; empty where nothing tells.
    started: when the process began, in ticks since the boot, for numbers are given again. beat: how often it has
    renewed the claim.
    """

    what: str
    host: str
    pid: int
    since: str
    token: str
    space: str = ""
    started: int = 0
    beat: int = 0

    @classmethod
    def me(cls, what: str) -> Owner:
        """This process, from now on."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        pid, host = os.getpid(), socket.gethostname()
        started = (_stat(pid) or ("", 0))[1]
        return cls(what=what, host=host, pid=pid, since=now, token=uuid.uuid4().hex, space=_space(), started=started)

    @classmethod
    def read(cls, data: bytes) -> Owner | None:
        """Who wrote ``data``; None if that cannot be told (a claim that is being written is empty)."""
        try:
            return cls(**json.loads(data))
        except (ValueError, TypeError):
            return None

    def to_bytes(self) -> bytes:
        """What the file of the claim holds."""
        return json.dumps(asdict(self)).encode()

    def renewed(self) -> Owner:
        """The same with one beat more, so that no two renewals have the same bytes, of which S3 makes its tag."""
        return replace(self, beat=self.beat + 1)

    @property
    def name(self) -> str:
        """What people call it."""
        return f"`raybench {self.what}` (process {self.pid} on {self.host})"

    @property
    def is_near(self) -> bool:
        """Whether this process can see whether it lives: it is, or was, among the same process numbers."""
        if self.space != _space():
            return False
        return self.space != "" or (self.pid == os.getpid() and self.host == socket.gethostname())

    @property
    def is_gone(self) -> bool:
        """Whether it is known to have ended; of a process elsewhere nothing is known."""
        if not self.is_near or not self.space:
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except OSError:  # somebody else's
            pass
        found = _stat(self.pid)
        return found is not None and (found[0] in _ENDED or found[1] != self.started)


@cache
def _space() -> str:
    try:
        return f"{Path(_BOOT).read_text().strip()}:{os.readlink(_NAMESPACE)}"
    except OSError:
        return ""


def _stat(pid: int) -> tuple[str, int] | None:
    """State of a process and when it began; None where the system does not tell."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return words[_STATE], int(words[_STARTED])
    except (OSError, ValueError, IndexError):
        return None
