"""A folder for caches where the user has no home: a container's user may write neither HOME nor the package.

Kubernetes runs it so (runAsNonRoot, readOnlyRootFilesystem), often under a number that has no name. What caches
compiled code or fonts then needs another place, one that is the user's alone: numba runs what it finds in its cache.
"""

from __future__ import annotations

import getpass
import os
import stat
import tempfile


def private_folder(name: str) -> str | None:
    """A folder of this user alone under the temporary folder, for caches called ``name``.

    None where there can be none, and where somebody else owns the one that is there or could have written to it.
    """
    try:
        root = tempfile.gettempdir()
    except OSError:
        return None
    if root == os.getcwd() and os.environ.get("TMPDIR") != root:  # the last resort of tempfile: not ours to litter
        return None
    own = os.path.join(root, f"raybench-{os.geteuid()}")
    folder = os.path.join(own, name)
    return folder if _made(own) and _made(folder) else None


def settle() -> None:
    """Give the libraries of this process and of its children what they would take from a home, where there is none.

    matplotlib gets a place for its fonts, and a user without a name one: torch asks for it.
    """
    if "MPLCONFIGDIR" not in os.environ and not _writable(_config_home()):
        folder = private_folder("matplotlib")
        if folder is not None:
            os.environ["MPLCONFIGDIR"] = folder
    try:
        getpass.getuser()
    except (KeyError, OSError):  # OSError from Python 3.13 on
        os.environ["LOGNAME"] = f"uid{os.geteuid()}"


def has_home() -> bool:
    """Say whether ``~`` stands for a folder at all; without HOME and a name it does not, and would be one called ~."""
    return os.path.isabs(os.path.expanduser("~"))


def _config_home() -> str | None:
    given = os.environ.get("XDG_CONFIG_HOME")
    return given or (os.path.expanduser("~/.config") if has_home() else None)


def _writable(folder: str | None) -> bool:
    """Say whether files can be made in ``folder``, which is made itself if need be."""
    while folder and not os.path.lexists(folder) and folder != os.path.dirname(folder):
        folder = os.path.dirname(folder)
    return bool(folder) and os.path.isdir(folder or "") and os.access(folder or "", os.W_OK | os.X_OK)


def _made(folder: str) -> bool:
    """Make a folder that only this user may enter; say whether there is such a one."""
    try:
        os.mkdir(folder, 0o700)
    except FileExistsError:
        pass
    except OSError:
        return False
    try:
        found = os.lstat(folder)  # not what a link points at
    except OSError:
        return False
    own = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o022
    return own and os.access(folder, os.W_OK | os.X_OK)
