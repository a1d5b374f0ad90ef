"""Which dates a scoring job has to do: those of the range that bars have and the score table lacks."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from raybench.errors import DataError

Dates = NDArray[np.datetime64]


@dataclass(frozen=True, slots=True, kw_only=True)
class DatePlan:
    """Days wanted [D], those of them still to be scored, and how many are there already."""

    wanted: Dates
    missing: Dates

    @property
    def present(self) -> int:
        """Number of wanted days that the table already has."""
        return len(self.wanted) - len(self.missing)


def plan_dates(
    calendar: Dates,
    *,
    start: np.datetime64,
    end: np.datetime64 | None,
    present: Collection[np.datetime64],
    since_last: bool = False,
    overwrite: bool = False,
) -> DatePlan:
    """Choose days [D] out of ``calendar`` (datetimes; several in a day are one day).

    ``since_last`` starts behind the last day that is present. DataError if the range holds no day at all.
    """
    days = np.unique(calendar.astype("datetime64[D]"))
    last = days[-1] if end is None else min(end.astype("datetime64[D]"), days[-1])
    begin = start.astype("datetime64[D]")
    if since_last and present:
        begin = max(begin, max(present).astype("datetime64[D]") + 1)
        if begin > last:
            return DatePlan(wanted=days[:0], missing=days[:0])
    wanted = days[(days >= begin) & (days <= last)]
    if not len(wanted):
        raise DataError(
            f"no date to score from {begin} to {last}: the data run from {days[0]} to {days[-1]}; "
            "change --start or --end"
        )
    done = np.array(sorted(present), dtype="datetime64[D]")
    missing = wanted if overwrite else wanted[~np.isin(wanted, done)]
    return DatePlan(wanted=wanted, missing=missing)


def contiguous_chunks(days: Dates, size: int) -> list[Dates]:
    """Cut days into runs of at most ``size``, the unit of work of one scoring task."""
    return [days[i : i + size] for i in range(0, len(days), size)]
