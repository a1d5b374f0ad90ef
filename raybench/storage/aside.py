"""Files that are written aside before they are published, and what killed writers left of them.

``<name of the target>.<host>-<32 hex digits>`` in a folder of their own. The writer holds a lock on the file until it
has its name, and the system lets go of it when the process ends, however it ends. So a file without a living owner is
known, and the next process that writes aside in the same folder deletes it; one of another machine after a day, since
not every shared disk shares its locks.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import socket
import time
import uuid
from typing import BinaryIO

from raybench.storage import folders

OF_OTHERS_SECONDS = 86_400.0
_NAME = re.compile(r".+\.(?:(?P<host>[0-9a-f]{8})-)?[0-9a-f]{32}")
_cleared: set[str] = set()


def usable(staging: str) -> str:
    """The folder to write aside in: ``<folder>.staging``, or ``<folder>/.staging`` if that cannot be beside it."""
    folder, parent = staging.removesuffix(".staging").rstrip("/"), os.path.dirname(staging)
    if not os.path.isdir(folder) or not os.path.isdir(parent):
        return staging
    same = os.stat(folder).st_dev == os.stat(parent).st_dev
    return staging if same and os.access(parent, os.W_OK | os.X_OK) else os.path.join(folder, ".staging")


def new_name(target: str) -> str:
    """The name aside of a file that will be ``target``."""
    # Not the process id: containers that share a disk have the same ones, and leave them behind when killed.
    return f"{target}.{_host()}-{uuid.uuid4().hex}"


def create(path: str) -> BinaryIO:
    """Open a new file; its folder may be taken away by another publisher in between, so try again."""
    for _ in range(100):
        with contextlib.suppress(FileExistsError, FileNotFoundError):
            folders.make_folders(os.path.dirname(os.path.dirname(path)))
            os.mkdir(os.path.dirname(path))  # this one need not survive a power cut
        with contextlib.suppress(FileNotFoundError):
            stream = open(path, "xb")  # noqa: SIM115 (it stays open)
            if own(stream):
                return stream
            stream.close()
    raise OSError(f"{path}: its folder keeps disappearing")


def own(stream: BinaryIO) -> bool:
    """Lock a file that was just made; False if somebody took it for a dead one's before that."""
    with contextlib.suppress(OSError):  # no locks here: nobody else gets one either, so nobody deletes it
        fcntl.flock(stream.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    return os.fstat(stream.fileno()).st_nlink > 0


def clear(folder: str) -> None:
    """Delete what dead writers left in ``folder``; looked for once by a process."""
    if folder in _cleared:
        return
    _cleared.add(folder)
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            match = _NAME.fullmatch(entry.name)
            if match is not None and (match["host"] == _host() or _is_old(entry)):
                _delete_if_dead(entry.path)


def _is_old(entry: os.DirEntry[str]) -> bool:
    return time.time() - entry.stat().st_mtime > OF_OTHERS_SECONDS


def _delete_if_dead(path: str) -> None:
    with contextlib.suppress(OSError):  # its owner lives, it is gone, or there are no locks
        handle = os.open(path, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(path)
        finally:
            os.close(handle)


def _host() -> str:
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]
