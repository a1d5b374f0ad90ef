"""What a Ray cluster that a command starts for itself needs of the machine: a folder for its sockets, and a token.

Nobody else has business with it, so its processes listen on the loopback device alone.

Sockets have short names (107 bytes on Linux), and Ray puts them below TMPDIR. It writes the token that keeps others
out into the home folder, which a container's user may lack.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from raybench.cluster.environment import with_variable
from raybench.errors import ResourceError
from raybench.progress import SILENT, Progress

LONGEST = 107 - len("/session_2026-01-01_00-00-00_000000_0000000/sockets/plasma_store.1")
"""Bytes that the name of Ray's folder may have."""

_TOKENS = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")


def socket_folder(*, progress: Progress = SILENT) -> str | None:
    """Return the folder for Ray's files, None for Ray's own choice, which is taken where it serves."""
    wanted = default_folder()
    why = unfit(wanted)
    if not why:
        return None
    for other in ("/tmp/ray", f"/tmp/ray-{os.getuid()}"):
        if not unfit(other):
            progress.note(f"{wanted} {why}: Ray's files are in {other}")
            return other
    raise ResourceError(
        f"Ray needs a folder for its sockets: {wanted} {why}; set RAY_TMPDIR to a folder that can be written and whose "
        f"name has at most {LONGEST - len('/ray')} bytes"
    )


def default_folder() -> str:
    """Where Ray puts its files unless it is told otherwise."""
    from ray._common.utils import get_default_ray_temp_dir

    return str(get_default_ray_temp_dir())


def unfit(folder: str) -> str:
    """Say why Ray cannot have its sockets below ``folder``; empty if it can."""
    if (length := len(os.fsencode(folder))) > LONGEST:
        return f"has {length} bytes, too many for sockets"
    return _unwritable(Path(folder))


LOOPBACK = "127.0.0.1"
_SEVERAL_MACHINES = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"  # what Ray calls it; unset it is so on Linux


@contextmanager
def on_loopback() -> Iterator[None]:
    """Have a cluster that is started meanwhile be of this machine alone: its processes listen on loopback.

    They do if that is the address of their node, which Ray gives it where it is told that its clusters are of one
    machine.
    """
    from ray._private import ray_constants

    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        with with_variable(_SEVERAL_MACHINES, "0"):
            yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


def give_token() -> None:
    """Give the cluster its token by the environment if Ray could not keep one in the home folder."""
    if os.environ.get("RAY_AUTH_MODE", "token").lower() != "token" or any(map(os.environ.get, _TOKENS)):
        return
    try:
        folder = Path.home() / ".ray"
    except RuntimeError:  # a user without a name and without HOME
        why = "no home"
    else:
        why = "" if _holds_text(folder / "auth_token") else _unwritable(folder)
    if why:
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


def _holds_text(file: Path) -> bool:
    try:
        return bool(file.read_bytes().strip())
    except OSError:
        return False


def _unwritable(folder: Path) -> str:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except OSError as error:
        return f"cannot be written ({(error.strerror or str(error)).lower()})"
