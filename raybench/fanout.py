"""How library code spreads calls over a machine or a cluster without knowing which."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol


class Fanout(Protocol):
    """``map`` or anything like it: results in the order of the items. The cluster's spreads the calls."""

    def __call__(self, function: Callable[[Any], Any], items: Iterable[Any], /) -> Iterator[Any]: ...
