"""A progress that does something at an epoch."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from raybench.progress import Advance


class Watch:
    """A progress that calls ``then`` once, when epoch number ``epoch`` ends, and keeps its notes."""

    def __init__(self, epoch: int, then: Callable[[], None]) -> None:
        self._epoch, self._then, self.called = epoch, then, False
        self.notes: list[str] = []

    @contextlib.contextmanager
    def track(self, name: str, total: int | None, *, at_most: bool = False, alike: bool = False) -> Iterator[Advance]:
        done = 0

        def advance(n: int = 1, text: str = "") -> None:
            nonlocal done
            done += n
            if name == "training" and done == self._epoch and not self.called:
                self.called = True
                self._then()

        yield advance

    def note(self, text: str) -> None:
        self.notes.append(text)
