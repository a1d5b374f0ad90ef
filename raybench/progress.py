"""How library code reports progress without printing: the command line decides how it looks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Advance(Protocol):
    """Move the bar of one stage on by ``n`` and show ``text`` beside it."""

    def __call__(self, n: int = 1, text: str = "") -> None: ...


class Progress(Protocol):
    """What a long-running function is given to tell how far it is."""

    def track(self, name: str, total: int | None, *, at_most: bool = False) -> AbstractContextManager[Advance]:
        """Open one bar; ``total`` None: its length is not known; ``at_most``: it may end before ``total``."""
        ...

    def note(self, text: str) -> None:
        """Say one line."""
        ...


class _Silent:
    @contextmanager
    def track(self, name: str, total: int | None, *, at_most: bool = False) -> Iterator[Advance]:
        yield lambda n=1, text="": None

    def note(self, text: str) -> None:
        pass


SILENT: Progress = _Silent()
