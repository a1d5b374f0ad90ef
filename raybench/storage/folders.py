"""Local folders that survive a power cut: the only place that makes those which readers see."""

from __future__ import annotations

import contextlib
import errno
import os


def make_folders(path: str) -> list[str]:
    """Create a local folder with its parents so that they survive a power cut; gives the new ones, innermost first.

    The folder above one that this process meets for the first time is forced to disk even if somebody else made
    it: that may have been a moment ago.
    """
    if path in _met and os.path.isdir(path):
        return []
    made = []
    if not os.path.isdir(path):
        made = make_folders(os.path.dirname(path))
        with contextlib.suppress(FileExistsError):
            os.mkdir(path)
            made.insert(0, path)
        if not os.path.isdir(path):  # a file has its name
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
    with contextlib.suppress(PermissionError):  # a parent that may be passed through and not be read
        sync_folder(os.path.dirname(path))
    _met.add(path)
    return made


_met: set[str] = set()  # local folders whose entry in the folder above is on disk


def sync_folder(folder: str) -> None:
    """Force to disk which names a folder has."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
