"""How many members of a universe have a row on each day, told from spans and calendars without reading a bar.

D days. An instrument is complete on the calendar from its first bar on, for as long as a universe holds it: a member
without a bar on the newest days counts, be it suspended or be its bar still to come.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from raybench.columns.types import Moments
from raybench.feature_sets.table import FeatureTable
from raybench.market.bars import Bars
from raybench.market.universe import Universe

Counts = NDArray[np.int64]
Days = NDArray[np.datetime64]


def days_of(calendar: Moments) -> Days:
    """The days on which there is anything, datetime64[D], ascending."""
    return np.unique(calendar.astype("datetime64[D]"))


def count_spans(universe: Universe, days: Days) -> Counts:
    """Count the instruments with a span over each of ``days`` -> [D]."""
    if not universe.instrument_K:
        return np.zeros(len(days), np.int64)
    first_K, last_K = (moments.astype("datetime64[D]") for moments in (universe.start_K, universe.last_K))
    inside_DK = (first_K <= days[:, None]) & (days[:, None] <= last_K)
    names = np.asarray(universe.instrument_K)
    begins = np.flatnonzero(np.r_[True, names[1:] != names[:-1]])  # spans are sorted by instrument
    inside_DN = np.logical_or.reduceat(inside_DK, begins, axis=1)
    count_D: Counts = inside_DN.sum(axis=1).astype(np.int64)
    return count_D


def present(bars: Bars, universe: str, *, rows: int = 1) -> Universe:
    """The spans over which members have at least ``rows`` rows up to and including the day's last."""
    members, lives, calendar = bars.universe(universe), bars.lives(), bars.calendar
    first_K, last_K = (np.array([lives[name][k] for name in members.instrument_K], "datetime64[us]") for k in (0, 1))
    place_K = np.searchsorted(calendar, first_K) + rows - 1
    enough_K = place_K < len(calendar)
    start_K = np.maximum(members.start_K, calendar[np.minimum(place_K, len(calendar) - 1)])
    end_K = np.minimum(members.last_K, last_K)
    kept_K = enough_K & (start_K <= end_K)
    names = tuple(name for name, kept in zip(members.instrument_K, kept_K, strict=True) if kept)
    return replace(members, instrument_K=names, start_K=start_K[kept_K], end_K=end_K[kept_K])


def count_rows(table: FeatureTable, days: Days) -> Counts:
    """Count the rows of a feature table on each of ``days`` -> [D]; of several datetimes in a day, the most."""
    moments, counts = table.rows_by_date()
    day_T = moments.astype("datetime64[D]")
    at_T = np.minimum(np.searchsorted(days, day_T), len(days) - 1)
    known_T = days[at_T] == day_T
    most_D = np.zeros(len(days), np.int64)
    np.maximum.at(most_D, at_T[known_T], counts[known_T])
    return most_D
