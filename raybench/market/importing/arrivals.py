"""Whether the dates that a source adds are dates of the market: most who could have a bar have one.

D dates of the calendar of both, N instruments that are in either, K spans. Judged against the bars that are there and
the source together, not against the source alone, which may be one date of one instrument.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from raybench.columns.types import Moments
from raybench.errors import DataError
from raybench.market.bars import Bars
from raybench.market.calendar import Dates
from raybench.market.census import HALF, HANDFUL, LONE, MIN_COVERAGE, Census, DateRules, Mask, has_bar, long_gaps
from raybench.market.importing.comparing import Brought
from raybench.market.membership import QUIET, Days
from raybench.market.quality import EXAMPLES, PRICES, Findings, found, merge
from raybench.market.sources.source import Source
from raybench.market.universe import ALL, Universe
from raybench.reports.text import numbered

AROUND = np.timedelta64(90, "D")  # so far on either side of a date is looked at for what is usual

Codes = NDArray[np.int64]


def judged_dates(
    source: Source,
    brought: Brought,
    bars: Bars,
    universes: Mapping[str, Universe],
    days: Days,
    rules: DateRules | None,
) -> Findings:
    """What is odd about the dates that ``source`` adds; DataError naming those on which hardly any member has a bar.

    A list of dates decides alone, as does a provider's calendar, and who wants every date has it: they are named then.
    """
    arrivals = Arrivals(brought, bars, universes, days)
    share = MIN_COVERAGE if rules is None else rules.min_coverage
    taken = source.format == "qlib" or not share or (rules is not None and rules.days is not None)
    said = arrivals.thin(MIN_COVERAGE if taken else share)
    if said and not taken:
        some = ", ".join(said[:EXAMPLES]) + (", ..." if len(said) > EXAMPLES else "")
        raise DataError(
            f"{source.uri}: hardly anybody has a bar on {some}: fewer than {share:.0%} of the members; is it a date of "
            "the market, and is the delivery complete? --calendar FILE lists the dates that count, "
            "--min-date-coverage 0 takes every one"
        )
    newest = found("newest_date_incomplete", arrivals.newest())
    newest = newest or found("newest_date_filled_forward", arrivals.carried())
    return merge(found("date_with_few_bars", said), newest)


class Arrivals:
    """The dates on which a source brings bars, and who could have one then."""

    def __init__(self, brought: Brought, bars: Bars, universes: Mapping[str, Universe], days: Days) -> None:
        self._bars, self._day_D = bars, days.day_D
        self._old_D: Mask = np.isin(days.day_D, bars.calendar.astype("datetime64[D]"))
        self._last = int(np.flatnonzero(self._old_D)[-1])
        self._old = _lives(bars, days)
        lives = dict(self._old)
        for name, ends in brought.lives.items():
            first, last = (int(days.code_T[at]) for at in ends)
            before = lives.get(name, (first, last))
            lives[name] = (min(first, before[0]), max(last, before[1]))
        self._code_of = {name: code for code, name in enumerate(lives)}
        ends_N2 = np.array(list(lives.values()), np.int64).reshape(-1, 2)
        self._first_N, self._last_N = ends_N2[:, 0], ends_N2[:, 1]
        self._spans = [_coded(each, self._code_of) for name, each in universes.items() if name != ALL]
        here: dict[int, list[int]] = {}
        for name, at_R in brought.bars.items():
            for d in np.unique(days.code_T[at_R]).tolist():
                here.setdefault(d, []).append(self._code_of[name])
        self._here = here
        self._again = {name: int(days.code_T[at_R[-1]]) for name, at_R in brought.again.items() if len(at_R)}

    def thin(self, share: float) -> list[str]:
        """The new dates on which fewer than this share have a bar, of those who usually have, for people."""
        across, said = self._across_gaps(), []
        for d in sorted(self._here):
            if self._old_D[d]:
                continue
            text = self._few(d, share)
            if text is None and d in across and len(self._here[d]) < HALF * self._alive(across[d]).sum():
                text = f"{self._day_D[d]} ({numbered(len(self._here[d]), 'instrument|instruments')}, across a long gap)"
            said += [] if text is None else [text]
        return said

    def _few(self, d: int, share: float) -> str | None:
        """A date, with who has bars on it, if hardly anybody has."""
        here_N = np.zeros(len(self._code_of), bool)
        here_N[self._here[d]] = True
        alive_N = self._alive(d) | here_N
        member_N = self._members(d)
        if d < self._last:
            member_N &= alive_N
        here, alive, present, members = (int(m.sum()) for m in (here_N, alive_N, here_N & member_N, member_N))

        def few(usual: float) -> bool:
            some = members >= LONE and _few(present, members * usual, share) and here < HALF * alive * usual
            return some or _few(here, alive * usual, share)

        if not few(1.0) or not few(self._usual(d)):  # bars that are rare by nature are no mistake
            return None
        if members:
            return f"{self._day_D[d]} ({present} of {numbered(members, 'member|members')})"
        return f"{self._day_D[d]} ({here} of {numbered(alive, 'instrument|instruments')})"

    def _alive(self, d: int) -> Mask:
        """Who could have a bar: up to the last one, and on newer dates for as long as members may pause."""
        alive_N: Mask = (self._first_N <= d) & (d <= self._last_N + (QUIET if d > self._last else 0))
        return alive_N

    def _members(self, d: int) -> Mask:
        """Who is in a universe that was given."""
        member_N, day = np.zeros(len(self._code_of), bool), self._day_D[d]
        for code_K, first_K, last_K in self._spans:
            member_N[code_K[(first_K <= day) & (day <= last_K)]] = True
        return member_N

    def _across_gaps(self) -> dict[int, int]:
        """Dates before the first long gap or after the last, a handful of them -> the date on its other side."""
        count, across = len(self._day_D), dict[int, int]()
        for at in long_gaps(self._day_D):
            if at < HANDFUL and at < count - HANDFUL:
                across |= dict.fromkeys(range(at + 1), at + 1)
            elif at >= count - 1 - HANDFUL and at >= HANDFUL:
                across |= {d: at for d in range(at + 1, count) if d not in across}
        return across

    def _usual(self, d: int) -> float:
        """The share of those between their first bar and their last who have one, on most dates around one."""
        first, last = self._bars.calendar[[0, -1]].astype("datetime64[D]")
        near = min(max(self._day_D[d], first), last)
        when = dict(_bars_between(self._bars, near - AROUND, near + AROUND))
        calendar_T = np.unique(np.concatenate([*when.values(), np.empty(0, "datetime64[us]")]))
        census = Census(calendar_T, {})
        for name, when_R in when.items():
            census.add(name, np.searchsorted(calendar_T, when_R))
        some_D = census.alive_D > 0
        return float(np.median(census.bars_D[some_D] / census.alive_D[some_D])) if some_D.any() else 1.0

    @property
    def newest_comes(self) -> bool:
        """Whether the source has bars on the newest date."""
        return len(self._day_D) - 1 in self._here

    def newest(self) -> list[str]:
        """The newest date, if the source has bars on it and fewer than half of those of the date before have."""
        last = len(self._day_D) - 1
        if not self.newest_comes or not last:
            return []
        here, before = self._count(last), self._count(last - 1)
        if here >= HALF * before:
            return []
        return [f"{self._day_D[last]} ({numbered(here, 'instrument|instruments')}, {before} the date before)"]

    def carried(self) -> list[str]:
        """The newest date, if the source has bars on it and most of those are the ones before again."""
        last = len(self._day_D) - 1
        here = self._here.get(last, [])
        fresh = len(here) - sum(at == last for at in self._again.values())
        if not here or fresh >= HALF * len(here):
            return []
        return [
            f"{self._day_D[last]} ({fresh} of {numbered(len(here), 'instrument|instruments')} with a bar of its own)"
        ]

    def _count(self, d: int) -> int:
        """How many have a bar on one of the two newest dates."""
        there = [name for name, (_, last) in self._old.items() if last == d]
        if d < self._last and self._old_D[d]:
            there = [name for name, _ in _bars_between(self._bars, self._day_D[d], self._day_D[d])]
        return len({self._code_of[name] for name in there}.union(self._here.get(d, ())))


def _lives(bars: Bars, days: Days) -> dict[str, tuple[int, int]]:
    """The dates of each instrument's first bar and its last among those that are there."""
    known = bars.metadata.histories
    lives = bars.lives(trailing=False)  # of older datasets the rows, which is nearly that
    if known is not None:
        has = [(name, first, at) for name, first, at in zip(known.instruments, known.starts, known.newest, strict=True)]
        lives = {name: (bars.calendar[first], bars.calendar[at]) for name, first, at in has if at >= 0}
    ends_N2 = np.array(list(lives.values()), "datetime64[us]").reshape(-1, 2).astype("datetime64[D]")
    codes = np.searchsorted(days.day_D, ends_N2).tolist()
    return {name: (first, last) for name, (first, last) in zip(lives, codes, strict=True)}


def _bars_between(bars: Bars, first: np.datetime64, last: np.datetime64) -> Iterator[tuple[str, Moments]]:
    """Who has bars from one date to another, and when."""
    block = bars.block(None, [name for name in PRICES if name in bars.fields], start=str(first), end=str(last))
    bar_R = has_bar(block.fields, block.rows)
    for i, name in enumerate(block.instruments):
        rows = slice(int(block.start_N1[i]), int(block.start_N1[i + 1]))
        if bar_R[rows].any():
            yield name, block.datetime_R[rows][bar_R[rows]]


def _coded(universe: Universe, code_of: Mapping[str, int]) -> tuple[Codes, Dates, Dates]:
    """The spans of those who have bars, by code."""
    kept = universe.keep(list(code_of))
    code_K = np.array([code_of[name] for name in kept.instrument_K], np.int64)
    return code_K, kept.start_K.astype("datetime64[D]"), kept.last_K.astype("datetime64[D]")


def _few(bars: int, expected: float, share: float) -> bool:
    return bars < share * expected or (bars <= 1 and expected >= LONE)
