"""A process that dies at a given step of all those that change what is stored."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from raybench.storage import files


class Killed(BaseException):
    """Stands for the process that dies: nothing catches it."""


class Steps:
    """Counts the steps that change what is stored; from the ``fatal`` one on, none is done."""

    def __init__(self, fatal: int | None = None) -> None:
        self.count = 0
        self.fatal = fatal

    def __call__(self, name: str, uri: str) -> None:
        if self.fatal is not None and self.count >= self.fatal:
            raise Killed(name)
        self.count += 1


@dataclass
class Fate:
    """What became of it."""

    killed: bool = False


@contextmanager
def may_be_killed_at(fatal: int) -> Iterator[Fate]:
    """Whatever runs in here dies at that step, if it comes to it, without the time to tidy up after itself."""

    def too_late(*_: object, **__: object) -> None:
        raise OSError("the process is dead")

    fate = Fate()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "_checkpoint", Steps(fatal))
        patch.setattr(os, "unlink", too_late)
        patch.setattr(os, "rmdir", too_late)
        try:
            yield fate
        except Killed:
            fate.killed = True


@contextmanager
def killed_at(fatal: int) -> Iterator[None]:
    """The same for a step that there is."""
    with may_be_killed_at(fatal) as fate:
        yield
    assert fate.killed
