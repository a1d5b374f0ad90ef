"""Processes of this test's own Ray, found in /proc."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def ours(title: str) -> list[int]:
    """Processes below this one whose title begins so."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (folder / "cmdline").read_bytes().startswith(title.encode()) and _below_us(int(folder.name)):
                found.append(int(folder.name))
    return found


def marked(mark: str) -> list[int]:
    """Living processes that have ``mark`` in their environment: what a command started, wherever it hangs now."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            dead = (folder / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
            if not dead and mark.encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
    return found


def below_us() -> list[int]:
    """This process and those below it."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if _below_us(int(folder.name)):
                found.append(int(folder.name))
    return found


def _below_us(pid: int) -> bool:
    while pid > 1 and pid != os.getpid():
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return pid == os.getpid()
