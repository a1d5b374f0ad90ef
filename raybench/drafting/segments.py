"""Dates -> train, valid and test, one after another.

D days with members of a universe, ascending. Three fifths are learned from, a fifth says when to stop, the newest
fifth stays unseen; where a year ends nearby, so does the segment.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from raybench.errors import DataError

Days = NDArray[np.datetime64]

SHARES = (0.6, 0.8)  # of the days, where train ends and where valid does
NEAR = 0.08  # of the days: how far a border moves to the end of a year
FEWEST = 30  # days


def split(days_D: Days, *, where: str) -> dict[str, tuple[Any, Any]]:
    """First and last day of train, valid and test, as dates; DataError for fewer than ``FEWEST`` days."""
    count = len(days_D)
    if count < FEWEST:
        raise DataError(f"{where}: {count} dates have members with a full window; want {FEWEST} at least to train on")
    new_year = np.flatnonzero(np.diff(days_D.astype("datetime64[Y]").astype(np.int64))) + 1
    train, valid = (_border(int(count * share), new_year, count) for share in SHARES)
    if train == valid:  # the same end of a year was near to both
        train, valid = (int(count * share) for share in SHARES)
    edges = {"train": (0, train), "valid": (train, valid), "test": (valid, count)}
    return {name: (days_D[start].item(), days_D[stop - 1].item()) for name, (start, stop) in edges.items()}


def _border(cut: int, new_year: NDArray[np.int64], count: int) -> int:
    """The first day of the year that begins nearest to ``cut``, if that is near."""
    if not len(new_year):
        return cut
    nearest = int(new_year[np.argmin(np.abs(new_year - cut))])
    return nearest if abs(nearest - cut) <= NEAR * count else cut
