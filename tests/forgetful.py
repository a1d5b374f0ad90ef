"""A disk that forgets at a power cut what was not forced onto it.

What a file system owes after a crash is what was synced: the content of a file as of its last ``fsync``, the names in a
folder as of the folder's. Each later change may have survived by itself, or not. ``ForgetfulDisk`` notes what is synced
below a folder, and tells what a power cut at this moment could leave of it: one run of a command gives that for each
of its steps.
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

Left = dict[str, bytes | None]
"""What a power cut leaves, by path: the content of a file, None for a folder."""


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

    def now(self) -> Moment:
        """What there is at this moment."""
        root = self.root.stat().st_ino
        names, latest = {root: _names(self.root)}, dict[int, bytes]()
        for folder, folders, there in os.walk(self.root):
            for name in folders:
                names[os.lstat(os.path.join(folder, name)).st_ino] = _names(os.path.join(folder, name))
            for name in there:
                path = Path(folder, name)
                latest[path.lstat().st_ino] = path.read_bytes()
        return Moment(root=root, names=names, latest=latest, disk=self)


@dataclass(frozen=True, kw_only=True)
class Moment:
    """What a disk shows at one step, by inode; what it would keep of it is another matter."""

    root: int
    names: dict[int, Names]
    latest: dict[int, bytes]
    disk: ForgetfulDisk

    def left(self, survives: Coin) -> Left:
        """What a power cut now could leave."""
        found: Left = {}
        self._leave(self.root, "", found, survives)
        return found

    def _leave(self, folder: int, where: str, found: Left, survives: Coin) -> None:
        before = self.disk.names.get(folder, {})
        now = self.names.get(folder, before)
        for name in sorted(before.keys() | now.keys()):
            path = f"{where}/{name}"
            changed = before.get(name) != now.get(name)
            kept = (now if changed and survives(f"name {path}") else before).get(name)
            if kept is None:
                continue
            inode, is_folder = kept
            if is_folder:
                found[path] = None
                self._leave(inode, path, found, survives)
                continue
            synced = self.disk.contents.get(inode, b"")
            latest = self.latest.get(inode, synced)
            found[path] = latest if latest != synced and survives(f"content {path}") else synced


def laid_out(left: Left, to: Path) -> Path:
    """Write what a power cut left into the new folder ``to``."""
    to.mkdir()
    for path, content in left.items():  # a folder comes before what is in it
        place = to / path.removeprefix("/")
        if content is None:
            place.mkdir()
        else:
            place.write_bytes(content)
    return to


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
