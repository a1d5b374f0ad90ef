"""Running commands as a user who has no name, no home, and may write nothing but one folder, as in a container."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

import raybench

UID = 61234
CHECKOUT = Path(raybench.__file__).parents[1]
_DROPPED = ["--reuid", str(UID), "--regid", str(UID), "--clear-groups"]
_AGAIN = "import raybench, subprocess, sys; subprocess.run([sys.executable, '-c', ''], check=True)"
# Reading everything and writing nothing: for a Python that lies in the home folder of root.
_READER = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]


def run_as_nobody(
    line: Sequence[str], *, cwd: Path, env: Mapping[str, str] | None = None, timeout: float = 240
) -> subprocess.CompletedProcess[str]:
    """Run ``line`` with this Python as a user with a number only; ``env`` is all that it finds set, beside paths."""
    given = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(CHECKOUT), "PYTHONDONTWRITEBYTECODE": "1", **(env or {})}
    command = [*_prefix(), sys.executable, *line]
    return subprocess.run(command, cwd=cwd, env=given, capture_output=True, text=True, timeout=timeout, check=False)


def own_folder(parent: Path) -> Path:
    """Make a folder that only the user without a name may write, and everybody may pass through."""
    parent.chmod(0o755)
    folder = parent / "own"
    folder.mkdir()
    os.chown(folder, UID, UID)
    return folder


def _prefix() -> list[str]:
    if os.name != "posix" or os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("needs root and setpriv, to run as a user without a home")
    for more in ([], _READER):
        prefix = ["setpriv", *_DROPPED, *more]
        tried = subprocess.run(
            [*prefix, sys.executable, "-c", _AGAIN],
            env={"PYTHONPATH": str(CHECKOUT)},
            cwd="/",
            capture_output=True,
            check=False,
        )
        if tried.returncode == 0:
            return prefix
    pytest.skip(f"another user may neither run {sys.executable} nor read {CHECKOUT}, and root may not lend the right")
