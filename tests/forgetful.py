"""A disk that forgets at a power cut what was not forced onto it.

What a file system owes after a crash is what was synced: the content of a file as of its last ``fsync``, the names in a
folder as of the folder's. Each later change may have survived by itself, or not. ``ForgetfulDisk`` notes what is synced
below a folder, and writes out elsewhere what a power cut at this moment could leave of it.
"""

from __future__ import annotations

import os
import random
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from raybench.storage import files

Coin = Callable[[str], bool]
"""Whether a change that was not synced survived, by what it is a change of."""

COINS = ("nothing", "names", "some", "others")


def coin(kind: str) -> Coin:
    """No change survives; all changes of names and none of contents; or each as chance has it."""
    if kind == "nothing":
        return lambda change: False
    if kind == "names":
        return lambda change: change.startswith("name ")
    return lambda change: random.Random(f"{kind} {change}").random() < 0.5


Names = dict[str, tuple[int, bool]]
"""What is in a folder: of each name the inode, and whether it is a folder."""


@dataclass
class ForgetfulDisk:
    """What is on the disk below ``root``, by inode: contents of files, names in folders."""

    root: Path
    contents: dict[int, bytes] = field(default_factory=dict)
    names: dict[int, Names] = field(default_factory=dict)
    held: list[int] = field(default_factory=list)  # open, so that no inode is given to another file

    def __post_init__(self) -> None:
        for folder, _, there in os.walk(self.root):
            self._note(os.open(folder, os.O_RDONLY))
            for name in there:
                self._note(os.open(os.path.join(folder, name), os.O_RDONLY))

    def sync(self, handle: int) -> None:
        """In the place of ``os.fsync``."""
        self._note(os.dup(handle))

    def _note(self, handle: int) -> None:
        self.held.append(handle)
        known = os.fstat(handle)
        path = f"/proc/self/fd/{handle}"
        if stat.S_ISDIR(known.st_mode):
            self.names[known.st_ino] = _names(path)
        else:
            self.contents[known.st_ino] = Path(path).read_bytes()

    def close(self) -> None:
        """Let go of the inodes."""
        for handle in self.held:
            os.close(handle)
        self.held.clear()

    def leave(self, to: Path, survives: Coin) -> None:
        """Write what a power cut now could leave into the new folder ``to``."""
        root = self.root.stat().st_ino
        live = {root: self.root}
        for folder, folders, there in os.walk(self.root):
            live |= {os.lstat(path).st_ino: path for path in (Path(folder, name) for name in (*folders, *there))}
        self._leave((root, True), to, "", live, survives)

    def _leave(self, what: tuple[int, bool], to: Path, where: str, live: dict[int, Path], survives: Coin) -> None:
        inode, is_folder = what
        path = live.get(inode)
        if is_folder:
            to.mkdir()
            before = self.names.get(inode, {})
            now = before if path is None else _names(path)
            for name in sorted(before.keys() | now.keys()):
                changed = before.get(name) != now.get(name)
                kept = (now if changed and survives(f"name {where}/{name}") else before).get(name)
                if kept is not None:
                    self._leave(kept, to / name, f"{where}/{name}", live, survives)
            return
        synced = self.contents.get(inode, b"")
        latest = synced if path is None else path.read_bytes()
        to.write_bytes(latest if latest != synced and survives(f"content {where}") else synced)


def _names(folder: str | Path) -> Names:
    return {entry.name: (entry.inode(), entry.is_dir(follow_symlinks=False)) for entry in os.scandir(folder)}


@contextmanager
def forgetting(root: Path) -> Iterator[ForgetfulDisk]:
    """What is below ``root`` lies on such a disk."""
    disk = ForgetfulDisk(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", disk.sync)
        try:
            yield disk
        finally:
            disk.close()


def power_cuts(root: Path, work: Callable[[], object], at: Callable[[int, ForgetfulDisk], None]) -> int:
    """Do ``work`` once, with ``at`` called before each step that changes what is stored, and at last.

    Gives how many steps there are. What ``at`` looks at is what a power cut at this step leaves, for nothing that a
    process does later, such as tidying up after itself, is on the disk then.
    """
    count = 0
    with forgetting(root) as disk, pytest.MonkeyPatch.context() as patch:

        def step(_: str, __: str) -> None:
            nonlocal count
            at(count, disk)
            count += 1

        patch.setattr(files, "_checkpoint", step)
        work()
        at(count, disk)
    return count
