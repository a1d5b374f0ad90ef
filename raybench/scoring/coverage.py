"""Who should have a score on each day, and whether enough of them can.

Of a universe with spans these are its members, with or without bars. Universe ``all`` and a feature table list only
who is there, so on a day on which little was delivered nobody would be missed: there it is at least as many as on the
dates just before, the median.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from raybench.errors import DataError
from raybench.market.universe import ALL
from raybench.panel import presence
from raybench.panel.presence import Counts, Days
from raybench.reports.text import numbered
from raybench.scoring.inputs import ScoringSource
from raybench.scoring.planning import DatePlan, count_members

RECENT = 20  # dates before, whose median says how many are usual
LEAST = 5  # of them; with fewer the run says what is usual


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """``members``: of the universe by day, nothing without bars. ``usual``: how many should have a score by day."""

    members: Mapping[str, int] = field(default_factory=dict)
    usual: Mapping[str, int] = field(default_factory=dict)


def expected(inputs: ScoringSource, universe: str, plan: DatePlan, trained_on: int = 0) -> Expectation:
    """Count who should be scored on each day of a plan; ``trained_on``: what the run calls usual, 0 if it does not.

    DataError if the universe has no member on any of the days.
    """
    days = plan.missing
    if not len(days):
        return Expectation()
    members: dict[str, int] = {}
    if inputs.bars is not None:
        ends = universe == ALL and not inputs.bars.causal
        members = count_members(inputs.bars.listed(universe), days, inputs.bars.calendar, to_last_bar=ends)
        if not any(members.values()):
            raise DataError(f"universe {universe} has no member from {days[0]} to {days[-1]}; change --start or --end")
    if universe != ALL:
        return Expectation(members=members, usual=members)
    every = presence.days_of(inputs.calendar)
    if inputs.features is not None:
        counts = usual_before(every, presence.count_rows(inputs.features, every), days, trained_on)
        return Expectation(members=members, usual=_by_day(days, counts))
    assert inputs.bars is not None, "there is one or the other"
    there = presence.count_spans(presence.present(inputs.bars, universe), every)
    counts = usual_before(every, there, days, trained_on=0)
    return Expectation(members=members, usual=_by_day(days, np.maximum(counts, list(members.values()))))


def _by_day(days: Days, counts: Counts) -> dict[str, int]:
    return {str(day): int(count) for day, count in zip(days, counts, strict=True)}


def usual_before(every: Days, counts: Counts, days: Days, trained_on: int) -> Counts:
    """Median of ``counts`` over the RECENT dates before each of ``days``; ``trained_on`` where there are too few."""
    found = []
    for at in np.searchsorted(every, days):
        before = counts[max(0, at - RECENT) : at]
        found.append(int(np.median(before)) if len(before) >= LEAST else trained_on)
    return np.array(found, np.int64)


def told(days: Sequence[str], at_most: int = 3) -> str:
    """Name a few days and count the rest."""
    more = len(days) - at_most
    return ", ".join(days[:at_most]) + (f" and {numbered(more, 'more date|dates')}" if more > 0 else "")
