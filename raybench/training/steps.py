"""Progress of the loop as events, for a listener that may be far away and has its own idea of what to show."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from raybench.progress import Advance


class StepEvents:
    """A :class:`raybench.progress.Progress` that ``say``s steps at most every ``every`` seconds, and notes.

    Events: ``("step", (stage, total, done))`` and ``("note", text)``.
    """

    def __init__(self, say: Callable[[str, Any], None], *, every: float) -> None:
        self._say, self._every = say, every

    @contextmanager
    def track(self, name: str, total: int | None, *, at_most: bool = False, alike: bool = False) -> Iterator[Advance]:
        """Announce a stage and count its steps."""
        done, said_at = 0, time.monotonic()

        def advance(n: int = 1, text: str = "") -> None:
            nonlocal done, said_at
            done += n
            if time.monotonic() - said_at >= self._every:
                self._say("step", (name, total, done))
                said_at = time.monotonic()

        yield advance
        self._say("step", (name, total, done))

    def note(self, text: str) -> None:
        """Say one line."""
        self._say("note", text)
