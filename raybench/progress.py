"""How library code reports progress without printing: the command line decides how it looks.

What a caller in Python should hear goes through ``warn``; commands have lines of their own for it.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

_HERE = str(Path(__file__).parent)


class Advance(Protocol):
    """Move the bar of one stage on by ``n`` and show ``text`` beside it."""

    def __call__(self, n: int = 1, text: str = "") -> None: ...


class Progress(Protocol):
    """What a long-running function is given to tell how far it is."""

    def track(
        self, name: str, total: int | None, *, at_most: bool = False, alike: bool = False
    ) -> AbstractContextManager[Advance]:
        """Open one bar; ``total`` None: its length is not known; ``at_most``: it may end before ``total``.

        ``alike``: its steps take about as long as each other, however few they are: trainings, not labels and a report.
        """
        ...

    def note(self, text: str) -> None:
        """Say one line."""
        ...


class _Silent:
    @contextmanager
    def track(self, name: str, total: int | None, *, at_most: bool = False, alike: bool = False) -> Iterator[Advance]:
        yield lambda n=1, text="": None

    def note(self, text: str) -> None:
        pass


SILENT: Progress = _Silent()


def warn(lines: Iterable[str]) -> None:
    """Show warnings at the line of whoever called into this package from outside."""
    level, frame = 1, inspect.currentframe()
    while frame is not None and frame.f_code.co_filename.startswith(_HERE):
        level, frame = level + 1, frame.f_back
    for line in lines:
        warnings.warn(line, stacklevel=level)
