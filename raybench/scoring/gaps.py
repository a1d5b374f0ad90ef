"""Days that are there but not whole: scored, they would look like any other.

*Begun*: the newest day of a calendar with several moments in a day has fewer of them than a day usually has.
*Old*: most members' newest bars are of days before, which looks like members that are suspended.
*Filled forward*: most members' closes are those of the day before again.
*Empty*: a field or column that had numbers where the run was trained is there and has none, or few.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from raybench.columns.types import Moments
from raybench.config import Config
from raybench.market.bars import open_bars
from raybench.panel import Panel
from raybench.panel.filled import FRESH, Filled
from raybench.reports.text import numbered
from raybench.runs.artifact import StoredRun
from raybench.scoring.coverage import LEAST, RECENT
from raybench.scoring.inputs import ScoringSource
from raybench.training.needs import Needs

HALF = 0.5
MANY = 10  # rows of a day, that are not suspended all at once
FEW = 5  # of whom most may be suspended while the others trade
SEVERAL = 2  # who are not all suspended at once while the market trades
NAMED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """What a day lacks, in words, and the share of what there usually is that it has."""

    why: str
    share: float


Gaps = Mapping[str, Gap]
"""By day."""


def begun_days(runs: Sequence[StoredRun], inputs: ScoringSource) -> Gaps:
    """The newest day of what is scored, or of a second window's bars, if more of it is still to come."""
    return days_begun([run.config for run in runs], inputs)


def days_begun(configs: Sequence[Config], inputs: ScoringSource) -> Gaps:
    """As :func:`begun_days`, for runs of these configurations."""
    second = {config.data.second.bars for config in configs if config.data.second is not None}
    others = (begun_day(open_bars(uri).calendar, of=f" of {uri}") for uri in sorted(second))
    return worst([begun_day(inputs.calendar), *others])


def begun_day(calendar: Moments, *, of: str = "") -> Gaps:
    """The newest day if it has fewer moments than the days before, the median; an earlier one gets no more."""
    days, counts = np.unique(calendar.astype("datetime64[D]"), return_counts=True)
    if len(days) <= LEAST:
        return {}
    usual = int(np.median(counts[-1 - RECENT : -1]))
    if counts[-1] >= usual:
        return {}
    return {
        str(days[-1]): Gap(
            why=f"{counts[-1]} of the usual {numbered(usual, 'moment|moments')}{of}", share=counts[-1] / usual
        )
    }


def empty_days(run: StoredRun, panel: Panel, least: float) -> Gaps:
    """The days of a panel with less than ``least`` (and than half) of the numbers and bars that are usual."""
    empty = days_without(Needs.of_manifest(run.manifest, where=run.uri), panel.filled, least)
    there = panel.filled if run.config.data.features is not None else panel.traded
    return worst([empty, old_days(there, least), carried_days(panel.traded, least)])


def old_days(traded: Filled | None, least: float) -> Gaps:
    """The days on which fewer members have a bar than on the days before, the median; or, without these, than rows."""
    found = {}
    for d in range(0 if traded is None else len(traded.days)):
        assert traded is not None, "else there are no days"
        before = traded.there_D[max(0, d - RECENT) : d]
        usual = int(np.median(before)) if len(before) >= LEAST else int(traded.rows_D[d])
        there = int(traded.there_D[d])
        if there and traded.rows_D[d] < FEW:
            continue
        if traded.rows_D[d] < MANY and (len(before) < LEAST or usual < SEVERAL):
            continue
        if there < max(least, HALF) * usual:
            found[str(traded.days[d])] = Gap(
                why=f"{there} of {numbered(usual, 'instrument|instruments')}", share=there / usual
            )
    return found


def carried_days(traded: Filled | None, least: float) -> Gaps:
    """The days on which fewer closes than on the days before, the median, are not those of the bar before again."""
    if traded is None or FRESH not in traded.names:
        return {}
    fresh_D = traded.count_DK[:, traded.names.index(FRESH)]
    found = {}
    for d in range(LEAST, len(fresh_D)):
        usual = int(np.median(fresh_D[max(0, d - RECENT) : d]))
        if usual >= FEW and fresh_D[d] < max(least, HALF) * usual:
            found[str(traded.days[d])] = Gap(
                why=f"{fresh_D[d]} of the usual {usual} closes that are not those of the day before again",
                share=fresh_D[d] / usual,
            )
    return found


def days_without(needs: Needs | None, filled: Filled | None, least: float) -> Gaps:
    """As :func:`empty_days`, of what is ``filled`` against what a run ``needs``."""
    if needs is None or filled is None:
        return {}
    known = [k for k, name in enumerate(filled.names) if name in needs.usual]
    if not known:
        return {}
    usual_K = np.array([needs.usual[filled.names[k]] for k in known])
    left_DK = filled.share_DK[:, known] / usual_K
    found = {}
    for d in np.flatnonzero(left_DK.min(axis=1) < max(least, HALF)):
        if not filled.there_D[d] and filled.rows_D[d] < MANY:  # all suspended
            continue
        lacks = [k for k, left in zip(known, left_DK[d], strict=True) if left < max(least, HALF)]
        some = ", ".join(filled.names[k] for k in lacks[:NAMED]) + (" ..." if len(lacks) > NAMED else "")
        most, rows = filled.count_DK[d, lacks].max(), filled.there_D[d] or filled.rows_D[d]
        found[str(filled.days[d])] = Gap(
            why=f"{some} in {most} of {numbered(rows, 'row|rows')}", share=float(left_DK[d].min())
        )
    return found


def worst(several: Iterable[Gaps]) -> Gaps:
    """For each day the gap that leaves least."""
    found: dict[str, Gap] = {}
    for gaps in several:
        found |= {day: gap for day, gap in gaps.items() if day not in found or gap.share < found[day].share}
    return found
