"""Versions of files on a disk (``storage.versions``), and giving a file a name in the place of one of them.

Size and time of change: what each node that shares the disk sees alike.
"""

from __future__ import annotations

import errno
import os

from raybench.errors import DataError

ABSENT = ""
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EINVAL, errno.EXDEV)


class OtherVersionError(DataError):
    """What is there is not what was to be replaced, and stays."""


def local_version(path: str) -> str:
    """The version of a file on a disk."""
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return ABSENT
    return f"{found.st_size}-{found.st_mtime_ns}"


def local_versions(folder: str) -> dict[str, str]:
    """The version of each file below a folder, by its path there."""
    paths = [os.path.join(where, name) for where, _, names in os.walk(folder) for name in names]
    return {os.path.relpath(path, folder): local_version(path) for path in paths if os.path.isfile(path)}


def move_over(path: str, target: str, version: str) -> bool:
    """Give a file the name ``target`` in the place of this ``version``; False if something else is there.

    Where nothing is to be replaced, of two who try one does; ``path`` is a second name then, for the caller to remove.
    Else a moment lies between looking and replacing, which no file system offers to do in one.
    """
    if version == ABSENT:
        try:
            os.link(path, target)
            return True
        except FileExistsError:
            return False
        except OSError as error:  # a file system without a second name for a file
            if error.errno not in _NO_LINKS:
                raise
    if local_version(target) != version:
        return False
    os.replace(path, target)
    return True
