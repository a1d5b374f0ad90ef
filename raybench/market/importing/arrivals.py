"""Whether the dates that a source adds are dates of the market: most who could have a bar have one.

D dates of the calendar of both. Judged against the bars that are there, not against the source alone, which may be one
date of one instrument.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from raybench.errors import DataError
from raybench.market.bars_metadata import Histories
from raybench.market.census import HALF, LONE, MIN_COVERAGE, DateRules
from raybench.market.importing.comparing import Brought
from raybench.market.membership import QUIET, Days
from raybench.market.quality import EXAMPLES
from raybench.market.sources.source import Source
from raybench.market.universe import ALL, Universe
from raybench.reports.text import numbered

Counts = NDArray[np.int64]


def refuse_thin_dates(
    source: Source,
    brought: Brought,
    known: Histories,
    universes: Mapping[str, Universe],
    days: Days,
    last: np.datetime64,
    rules: DateRules | None,
) -> None:
    """DataError naming the dates after ``last`` on which hardly any member has a bar.

    A list of dates decides alone, as does a provider's calendar.
    """
    share = MIN_COVERAGE if rules is None else rules.min_coverage
    if source.format == "qlib" or not share or (rules is not None and rules.days is not None):
        return
    said = [str(day) for day in source.thin if day > last]
    said += _thin(brought, known, universes, days, int(np.searchsorted(days.day_D, last, side="right")), share)
    if said:
        some = ", ".join(said[:EXAMPLES]) + (", ..." if len(said) > EXAMPLES else "")
        raise DataError(
            f"{source.uri}: hardly anybody has a bar on {some}: fewer than {share:.0%} of the members; is it a date of "
            "the market, and is the delivery complete? --calendar FILE lists the dates that count, "
            "--min-date-coverage 0 takes every one"
        )


def _thin(
    brought: Brought, known: Histories, universes: Mapping[str, Universe], days: Days, since: int, share: float
) -> Iterable[str]:
    newest = dict(zip(known.instruments, known.newest, strict=True))
    listed = [universe for name, universe in universes.items() if name != ALL]
    for d in range(since, len(days.day_D)):
        here = {name for name, at_R in brought.bars.items() if (days.code_T[at_R] == d).any()}
        alive = {name for name, at in newest.items() if at >= 0 and d - days.code_T[at] <= QUIET} | here
        members = set[str]().union(*(_members(universe, days.day_D[d]) for universe in listed))
        members &= alive | newest.keys()
        few = _few(len(here), len(alive), share)
        few |= len(members) >= LONE and _few(len(here & members), len(members), share) and len(here) < HALF * len(alive)
        if few and members:
            yield f"{days.day_D[d]} ({len(here & members)} of {numbered(len(members), 'member|members')})"
        elif few:
            yield f"{days.day_D[d]} ({len(here)} of {numbered(len(alive), 'instrument|instruments')})"


def _members(universe: Universe, day: np.datetime64) -> set[str]:
    first_K, last_K = (moments.astype("datetime64[D]") for moments in (universe.start_K, universe.last_K))
    inside_K = (first_K <= day) & (day <= last_K)
    return {name for name, inside in zip(universe.instrument_K, inside_K, strict=True) if inside}


def _few(bars: int, expected: int, share: float) -> bool:
    return bars < share * expected or (bars <= 1 and expected >= LONE)
