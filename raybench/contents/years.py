"""What a table has by year: dates, weekdays without any, how many instruments; and where its dates are far apart.

D days, ascending. A weekday without a date may be a holiday: nobody here knows which exchange it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raybench.reports.text import numbered

Days = NDArray[np.datetime64]
Numbers = NDArray[Any]

LONG = 5  # days between neighbouring dates from which on they are far apart: more than a long weekend
NAMED = 3  # of them, the longest


def by_year(days_D: Days, counts: Mapping[str, Numbers], lowest: Mapping[str, Numbers] | None = None) -> list[Any]:
    """A row for each year: its dates, the weekdays without one, and of each of ``counts`` [D] the median.

    Of each of ``lowest`` [D] it is the smallest value; NaN takes no part. Weekdays count from the first date on, and up
    to the last.
    """
    rows = []
    for year, part_D in _years(days_D):
        here = days_D[part_D]
        row: dict[str, Any] = {
            "year": year,
            "dates": len(here),
            "weekdays_without": _weekdays(days_D, year) - _on(here),
        }
        row |= {name: _median(count_D[part_D]) for name, count_D in counts.items()}
        row |= {name: _smallest(value_D[part_D]) for name, value_D in (lowest or {}).items()}
        rows.append(row)
    return rows


def far_apart(days_D: Days) -> list[str]:
    """Name the longest stretches without a date, the longest first."""
    step = np.diff(days_D).astype(np.int64)
    longest = np.argsort(-step, kind="stable")[:NAMED]
    return [
        f"{days_D[i]} to {days_D[i + 1]} ({numbered(int(step[i]), 'day|days')})" for i in longest if step[i] >= LONG
    ]


def _years(days_D: Days) -> Iterator[tuple[int, slice]]:
    year_D = days_D.astype("datetime64[Y]").astype(np.int64) + 1970
    edges = np.flatnonzero(np.r_[True, year_D[1:] != year_D[:-1], True]) if len(year_D) else np.array([0])
    for start, stop in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        yield int(year_D[start]), slice(start, stop)


def _weekdays(days_D: Days, year: int) -> int:
    """Count the weekdays of a year from the first of all days on, up to the last."""
    first = max(np.datetime64(f"{year:04d}-01-01"), days_D[0])
    after = min(np.datetime64(f"{year + 1:04d}-01-01"), days_D[-1] + 1)
    return int(np.busday_count(first, after))


def _on(days_D: Days) -> int:
    return int(np.is_busday(days_D).sum())


def _median(value_D: Numbers) -> int | None:
    return int(np.median(value_D)) if len(value_D) else None


def _smallest(value_D: Numbers) -> float | None:
    known = value_D[~np.isnan(value_D)]
    return round(float(known.min()), 4) if len(known) else None
