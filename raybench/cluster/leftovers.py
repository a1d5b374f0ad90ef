"""What clusters that commands started for themselves leave on the disk: logs, and objects that did not fit into memory.

Ray keeps the folder of every session for ever, and that of a command that was killed with all that it had spilled. Ours
carry a file that their process holds a lock on, which the system lets go of when it ends, however it ends. The next
command that starts Ray deletes those without a living owner, unless a process of theirs is still there.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from pathlib import Path

MARK = "raybench.lock"
_SESSIONS = "session_2*"


class SessionMark:
    """The lock on the folder of this process's own session, for as long as it is ours."""

    def __init__(self) -> None:
        self._handle: int | None = None

    def put(self, session: Path) -> None:
        """Say that the folder is this process's; where nothing can be locked nothing is said."""
        self.take_back()
        with contextlib.suppress(OSError):
            handle = os.open(session / MARK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.unlink(session / MARK)
                os.close(handle)
            else:
                self._handle = handle

    def take_back(self) -> None:
        """Let go of the folder, whose session has ended: the next command deletes it."""
        handle, self._handle = self._handle, None
        if handle is not None:
            os.close(handle)


def clear_dead(folder: Path) -> None:
    """Delete the sessions below Ray's folder that commands of ours began and that no process is of any more."""
    for mark in folder.glob(f"{_SESSIONS}/{MARK}"):
        session = mark.parent
        with contextlib.suppress(OSError):  # its owner lives, it is somebody else's, or gone
            handle = os.open(mark, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if not session.is_symlink() and not _is_used(session.name):
                    shutil.rmtree(session, ignore_errors=True)
            finally:
                os.close(handle)


def _is_used(name: str) -> bool:
    """Whether a process has been started with the name of a session, as all of Ray's are."""
    wanted = os.fsencode(name)
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended
            if wanted in process.read_bytes():
                return True
    return False
