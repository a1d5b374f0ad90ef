"""Which dates a scoring job has to do, and how many instruments each of them should have.

D days, K spans of a universe.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import date

import numpy as np
from numpy.typing import NDArray

from raybench.columns import moments
from raybench.errors import DataError
from raybench.market.universe import Universe

Dates = NDArray[np.datetime64]


@dataclass(frozen=True, slots=True, kw_only=True)
class DatePlan:
    """Days wanted [D], those of them still to be scored, and how many are there already.

    ``newest``: the last day of the range that was asked for, scored or not; None if there is none.
    """

    wanted: Dates
    missing: Dates
    newest: np.datetime64 | None = None

    @property
    def present(self) -> int:
        """Number of wanted days that the table already has and that stay as they are."""
        return len(self.wanted) - len(self.missing)

    def without(self, days: Dates) -> DatePlan:
        """The same but for some days."""
        wanted, missing = (chosen[~np.isin(chosen, days)] for chosen in (self.wanted, self.missing))
        return replace(self, wanted=wanted, missing=missing)


def plan_dates(
    calendar: Dates,
    *,
    start: date,
    end: date | None,
    present: Collection[date],
    refused: Collection[date] = (),
    since_last: bool = False,
    overwrite: bool = False,
    stale: Collection[date] | None = None,
) -> DatePlan:
    """Choose days [D] out of ``calendar`` (datetimes; several in a day are one day).

    ``since_last`` starts behind the last day that is present, and comes back to those before it that were
    ``refused`` for their coverage. ``stale``: only these, which are present. DataError if the range holds no day at
    all.
    """
    days = np.unique(calendar.astype("datetime64[D]"))
    begin, last = np.datetime64(start, "D"), days[-1] if end is None else min(np.datetime64(end, "D"), days[-1])
    wanted = days[(days >= begin) & (days <= last)]
    newest = wanted[-1] if len(wanted) else None
    if stale is not None:
        again = wanted[np.isin(wanted, np.array(sorted(stale), dtype="datetime64[D]"))]
        return DatePlan(wanted=wanted, missing=again, newest=newest)
    if since_last and present:
        again = np.isin(wanted, np.array(sorted(refused), dtype="datetime64[D]"))
        wanted = wanted[(wanted > np.datetime64(max(present), "D")) | again]
        if not len(wanted):
            return DatePlan(wanted=wanted, missing=wanted, newest=newest)
    if not len(wanted):
        raise DataError(
            f"no date to score from {begin} to {last}: the data run from {days[0]} to {days[-1]}; "
            "change --start or --end"
        )
    done = np.array(sorted(present), dtype="datetime64[D]")
    missing = wanted if overwrite else wanted[~np.isin(wanted, done)]
    return DatePlan(wanted=wanted, missing=missing, newest=newest)


def apart(days: Dates, calendar: Dates, rows: int) -> list[Dates]:
    """Cut days where more than ``rows`` entries of the calendar lie between two: what lies between is not read."""
    if not len(days):
        return []
    ends = np.searchsorted(calendar, (days[:-1] + 1).astype("datetime64[us]"))
    begins = np.searchsorted(calendar, days[1:].astype("datetime64[us]"))
    return np.split(days, np.flatnonzero(begins - ends > rows) + 1)


def parse_day(option: str, text: moments.Moment) -> date:
    """Read a date that was given as an option."""
    when = moments.moment(text, option)
    found = moments.day(text, option)
    if when != np.datetime64(found):
        raise DataError(f"{option} is {text!r}, a date with a time of day; want a date as YYYY-MM-DD")
    return found


def count_members(universe: Universe, days: Dates, calendar: Dates, *, to_last_bar: bool = False) -> dict[str, int]:
    """Count the universe's members on each of ``days`` [D], with or without bars.

    ``to_last_bar``: its spans end with an instrument's last bar, so one whose newest bar did not arrive would not be
    missed; it counts on the next day of the calendar still.
    """
    all_days = np.unique(calendar.astype("datetime64[D]"))
    first_K, last_K = (moments.astype("datetime64[D]") for moments in (universe.start_K, universe.last_K))
    if to_last_bar:
        last_K = all_days[np.minimum(np.searchsorted(all_days, last_K, side="right"), len(all_days) - 1)]
    member_DK = (first_K <= days[:, None]) & (days[:, None] <= last_K)
    names = np.asarray(universe.instrument_K)
    begins = np.flatnonzero(np.r_[True, names[1:] != names[:-1]])  # spans are sorted by instrument
    member_DN = np.logical_or.reduceat(member_DK, begins, axis=1)
    return {str(day): int(count) for day, count in zip(days, member_DN.sum(axis=1), strict=True)}


def contiguous_chunks(days: Dates, size: int) -> list[Dates]:
    """Cut days into runs of at most ``size``, the unit of work of one scoring task."""
    return [days[i : i + size] for i in range(0, len(days), size)]
