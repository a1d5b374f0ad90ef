"""How work on independent parts is handed out: a function value, so that pure code never knows about Ray.

``run(function, items, *shared)`` gives ``function(item, *shared)`` for each item, in the order of the items. A runner
that spreads the work puts each ``shared`` value once where all can read it; functions and items are small and pickle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol


class Run(Protocol):
    """Apply a function to items; results come lazily and in order."""

    def __call__(self, function: Callable[..., Any], items: Sequence[Any], *shared: Any) -> Iterator[Any]: ...


def serial(function: Callable[..., Any], items: Sequence[Any], *shared: Any) -> Iterator[Any]:
    """One after the other, in this process, holding no more than one result."""
    return (function(item, *shared) for item in items)
