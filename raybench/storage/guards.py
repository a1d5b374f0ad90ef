"""Who is asked before anything is changed in a store: they raise where that is no longer this process' to do."""

from __future__ import annotations

from collections.abc import Callable

guards: list[Callable[[str], None]] = []
"""Each takes the path, bucket first, of what is about to be put or deleted (``claims`` puts its own here)."""


def ask(path: str) -> None:
    """Ask all of them."""
    for guard in tuple(guards):
        guard(path)
