"""Temporary folders of ours: a killed process leaves its own, and the next one that wants such a folder clears it.

The owner of a folder holds a lock on it, which the system lets go of when the process ends, however it ends. Where
nothing can be locked nothing is cleared. A prefix is of one kind of folder, so what others leave is not looked at.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import os
import shutil
import tempfile
from collections.abc import Iterator

from raybench.errors import DataError

CHECKPOINT, EVENTS, FRAMES = "raybench-checkpoint-", "raybench-events-", "raybench-frames-"


@contextlib.contextmanager
def room(prefix: str) -> Iterator[str]:
    """A folder for as long as the block runs. DataError if there can be none."""
    folder, lock = own(prefix)
    try:
        yield folder
    finally:
        leave(folder, lock)


def own(prefix: str) -> tuple[str, int]:
    """A new folder, and the lock on it that says that its owner lives. DataError if there can be none."""
    clear_dead(prefix)
    while True:
        try:
            folder = tempfile.mkdtemp(prefix=prefix)
        except OSError as error:
            raise no_room(error) from error
        with contextlib.suppress(FileNotFoundError):  # taken for a dead one's before it was locked
            handle = os.open(folder, os.O_RDONLY)
            with contextlib.suppress(BlockingIOError):
                _lock(handle)
                if os.path.isdir(folder):
                    return folder, handle
            os.close(handle)


def leave(folder: str, lock: int) -> None:
    """Give a folder up, with all in it."""
    shutil.rmtree(folder, ignore_errors=True)
    os.close(lock)


def clear_dead(prefix: str) -> None:
    """Delete the folders that killed processes left."""
    with contextlib.suppress(OSError):  # nowhere to look
        for folder in glob.glob(os.path.join(glob.escape(tempfile.gettempdir()), prefix + "*")):
            _clear_if_dead(folder)


def no_room(error: OSError) -> DataError:
    """What to tell of a temporary folder that takes no more."""
    try:
        where = tempfile.gettempdir()
    except OSError:
        where = "the temporary folder"
    why = error.strerror or str(error)
    return DataError(f"{where}: cannot be written: {why}; make room, or set TMPDIR to a folder that has some")


def _clear_if_dead(folder: str) -> None:
    with contextlib.suppress(OSError):  # somebody else's, gone already, or its owner lives
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(handle)


def _lock(handle: int) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:  # no locks here: nobody else gets one either, so nobody clears it
        pass
