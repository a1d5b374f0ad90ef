"""Who has bars when: which dates are dates of the market, and which are somebody's mistake.

T calendar entries, D dates (an intraday calendar has several entries a date), N instruments. A bar is a row with a
price; an instrument could have one from its first bar to its last. NaN: a row without a price is no bar, nor is one
whose prices are all zero, as some write it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from raybench.columns.types import Floats, Moments
from raybench.market.calendar import Dates
from raybench.market.quality import PRICES, Finding, Findings, clock, found
from raybench.market.universe import Universe
from raybench.reports.text import numbered

MIN_COVERAGE = 0.1
LONE = 5  # where so many could have a bar, a single one makes no date
HANDFUL = 5  # so many dates beside a gap may be a mistake
LONG_GAP = 120  # days; no market was closed for longer in a century
MANY_STEPS = 20  # as long a gap is as steps are, in bars of a month
SATURDAY = 5  # where Monday is 0
RARE = 0.05  # of the dates
OF_NEWEST = frozenset({"newest_date_incomplete", "newest_date_filled_forward"})
"""What is said of the newest date alone, until it is another."""
HALF = 0.5  # with so many of all instruments it is a date, whoever the members are
MOST = 0.8  # of all weekdays, and of all dates that are weekdays, where a market trades five days a week

Counts = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class DateRules:
    """Which dates of a table become dates of the calendar.

    min_coverage : the share of the members with a bar, of what is usual, below which a date is left out; 0 keeps all.
    days : datetime64[D], sorted: just these, whoever has bars on them.
    """

    min_coverage: float = MIN_COVERAGE
    days: NDArray[np.datetime64] | None = None


def has_bar(fields: Mapping[str, Floats], rows: int) -> Mask:
    """Which rows have a price that is not zero, or any value where no field is one -> [R]."""
    mask_R = np.zeros(rows, dtype=bool)
    prices = [name for name in reversed(PRICES) if name in fields]
    for name in prices or fields:  # most rows are known by the first
        if not mask_R.all():
            mask_R |= np.abs(fields[name]) > 0 if prices else ~np.isnan(fields[name])
    return mask_R


def repeats(fields: Mapping[str, Floats], bar_R: Mask) -> Mask:
    """Of one instrument's rows in the order of time, which bars say what the bar before them said -> [R].

    Every price is that of the bar before, or its close, and the volume is zero, unknown or the same: what filling
    forward leaves, and a suspension.
    """
    rows = np.flatnonzero(bar_R)
    before = {name: fields[name][rows[:-1]] for name in (*PRICES, "volume") if name in fields}
    now = {name: fields[name][rows[1:]] for name in before}
    same, flat = np.ones((2, max(len(rows) - 1, 0)), dtype=bool)
    for name in [name for name in PRICES if name in fields]:
        nothing = np.isnan(now[name])
        same &= (before[name] == now[name]) | (nothing & np.isnan(before[name]))
        flat &= nothing | (now[name] == before["close"]) if "close" in before else False
    if "volume" in fields:
        traded = ~np.isnan(now["volume"]) & (now["volume"] != 0)
        same &= ~traded | (now["volume"] == before["volume"])
        flat &= ~traded
    mask_R = np.zeros(len(bar_R), dtype=bool)
    mask_R[rows[1:][same | flat]] = True
    return mask_R


class Census:
    """Counts by calendar entry [T] and by date [D]; instruments are added one after the other.

    ``members``: of the universes other than the one of all.
    """

    def __init__(self, calendar_T: Moments, universes: Mapping[str, Universe]) -> None:
        self.day_D, self._code_T = np.unique(calendar_T.astype("datetime64[D]"), return_inverse=True)
        self.bars_T: Counts = np.zeros(len(calendar_T), np.int64)
        self.bars_D: Counts = np.zeros(len(self.day_D), np.int64)
        self.fresh_D: Counts = np.zeros_like(self.bars_D)
        self.alive_D: Counts = np.zeros_like(self.bars_D)
        self.member_bars_D: Counts = np.zeros_like(self.bars_D)
        self.members_D: Counts = np.zeros_like(self.bars_D)
        self._calendar_T = calendar_T
        self._spans: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for universe in universes.values():
            starts = np.searchsorted(self.day_D, universe.start_K.astype("datetime64[D]"))
            stops = np.searchsorted(self.day_D, universe.last_K.astype("datetime64[D]"), side="right")
            for name, start, stop in zip(universe.instrument_K, starts.tolist(), stops.tolist(), strict=True):
                self._spans[name].append((start, stop))

    def add(self, instrument: str, at_R: NDArray[np.int64], repeats_R: Mask | None = None) -> None:
        """Count an instrument whose bars lie at these positions of the calendar, ascending.

        ``repeats_R``: which of them say what the bar before said (see `repeats`); not given, none does.
        """
        if len(at_R) == 0:
            return
        self.bars_T[at_R] += 1
        days = np.unique(self._code_T[at_R])
        first, stop = int(days[0]), int(days[-1]) + 1
        self.bars_D[days] += 1
        self.fresh_D[days if repeats_R is None else np.unique(self._code_T[at_R[~repeats_R]])] += 1
        self.alive_D[first:stop] += 1
        member_D = np.zeros(len(self.day_D), dtype=bool)
        for start, end in self._spans.get(instrument, ()):
            member_D[start:end] = True
        self.members_D[first:stop] += member_D[first:stop]
        self.member_bars_D[days] += member_D[days]

    def of_day(self, mask_D: Mask) -> Mask:
        """What is said of dates, said of calendar entries -> [T]."""
        return mask_D[self._code_T]

    def filled(self) -> Mask:
        """Dates on which every bar only repeats the one before, as filling forward leaves them -> [D].

        On a weekend or where there are ``LONE`` bars or more: fewer may all be suspended on a date of the market.
        None where it is so on most dates: these are prices that hardly move.
        """
        filled_D: Mask = (self.bars_D > 0) & (self.fresh_D == 0) & (weekend(self.day_D) | (self.bars_D >= LONE))
        return filled_D if filled_D.sum() < HALF * (self.bars_D > 0).sum() else np.zeros_like(filled_D)

    def astray(self) -> Mask:
        """Dates before or after a gap that no market leaves, on which fewer than half have a bar of those across it.

        Such as the 1970 of a zero and the 2099 of an open end -> [D].
        """
        dates = np.flatnonzero(self.bars_D)
        mask_D = np.zeros(len(self.day_D), dtype=bool)
        gaps = long_gaps(self.day_D[dates])
        for at in [i for i in gaps if i < HANDFUL and i < len(dates) - HANDFUL]:
            mask_D[dates[: at + 1]] |= self.bars_D[dates[: at + 1]] < HALF * self.bars_D[dates[at + 1]]
        for at in [i for i in gaps if i >= len(dates) - 1 - HANDFUL and i >= HANDFUL]:
            mask_D[dates[at + 1 :]] |= self.bars_D[dates[at + 1 :]] < HALF * self.bars_D[dates[at]]
        return mask_D

    def _said_gaps(self) -> list[str]:
        dates = np.flatnonzero(self.bars_D)
        return [f"{self.day_D[dates[i]]} to {self.day_D[dates[i + 1]]}" for i in long_gaps(self.day_D[dates])]

    def thin(self, min_coverage: float) -> Mask:
        """Dates on which hardly anybody who could have a bar has one -> [D].

        Hardly: fewer than this share of what is usual, or one alone of ``LONE`` or more. Members count, unless half
        of all instruments have bars: then it is a date on which the members have none. Too few members to
        tell, and all instruments count.
        """
        if not min_coverage:
            return np.zeros(len(self.day_D), dtype=bool)
        expected_D, members_D = _expected(self.bars_D, self.alive_D), _expected(self.member_bars_D, self.members_D)
        few_D = _few(self.bars_D, expected_D, min_coverage)
        few_D |= (
            (members_D >= LONE) & _few(self.member_bars_D, members_D, min_coverage) & (self.bars_D < HALF * expected_D)
        )
        return (few_D & (self.bars_D > 0)) | self.astray()

    def said(self, mask_D: Mask) -> list[str]:
        """These dates for people, with who has bars on them."""
        return [self._said(int(d)) for d in np.flatnonzero(mask_D)]

    def findings(self, *, daily: bool = True) -> Findings:
        """What is odd about the dates that are in the calendar; ``daily``: of bars of a day."""
        begun_D = np.cumsum(self.bars_D) > 0  # a calendar may well begin before the bars
        return {
            **found("date_with_few_bars", self.said(self.thin(MIN_COVERAGE))),
            **found("date_without_bars", [str(day) for day in self.day_D[begun_D & (self.bars_D == 0)]]),
            **found("date_filled_forward", self.said(self._filled_before())),
            **found("long_gap", self._said_gaps()),
            **found("newest_date_incomplete", self._newest()),
            **found("newest_date_filled_forward", self._carried()),
            **(self._weekdays() if daily else found("moment_with_few_bars", self._lone_moments())),
        }

    def _filled_before(self) -> Mask:
        """Weekends that are filled forward and were kept, but the newest date, of which more is said.

        Other dates may be like that where prices hardly move.
        """
        filled_D = self.filled() & weekend(self.day_D)
        filled_D[-1:] = False
        return filled_D

    def _weekdays(self) -> Findings:
        """Weekdays that are missing, and days at the end of a week that are there, where a market trades five."""
        day_D = self.day_D[self.bars_D > 0]
        end_D = weekend(self.day_D) & (self.bars_D > 0) & ~self.thin(MIN_COVERAGE)
        few = end_D.sum() <= RARE * len(day_D)
        return {**weekday_findings(day_D), **(found("date_on_weekend", self.said(end_D)) if few else {})}

    def _lone_moments(self) -> list[str]:
        """Moments at which hardly anybody has a bar, at a time of day that hardly any other date has."""
        share_T = self.bars_T / np.maximum(self.alive_D[self._code_T], 1)
        usual = float(np.median(share_T[share_T > 0])) if (share_T > 0).any() else 0.0
        few_T = _few(self.bars_T, self.alive_D[self._code_T] * usual, MIN_COVERAGE) & (self.bars_T > 0)
        lone_T = few_T & lone_clocks(self._calendar_T)
        return [
            f"{clock(self._calendar_T[t])} ({self.bars_T[t]} of {self.alive_D[self._code_T[t]]} instruments)"
            for t in np.flatnonzero(lone_T)
        ]

    def _newest(self) -> list[str]:
        """The newest date, if fewer than half of those of the date before have a bar on it."""
        before, last = self.bars_D[-2:] if len(self.bars_D) > 1 else (0, 0)
        return (
            [f"{self.day_D[-1]} ({numbered(last, 'instrument|instruments')}, {before} the date before)"]
            if last < HALF * before
            else []
        )

    def _carried(self) -> list[str]:
        """The newest date, if fewer than half have a bar on it that does not repeat the one before."""
        before, last = self.fresh_D[-2:] if len(self.fresh_D) > 1 else (0, 0)
        if last >= HALF * before or self._newest():
            return []
        return [f"{self.day_D[-1]} ({last} of {self.bars_D[-1]} instruments with a bar of its own)"]

    def _said(self, d: int) -> str:
        if self.members_D[d]:
            return f"{self.day_D[d]} ({self.member_bars_D[d]} of {self.members_D[d]} members)"
        return f"{self.day_D[d]} ({self.bars_D[d]} of {self.alive_D[d]} instruments)"


def long_gaps(day_D: Dates) -> list[int]:
    """After which of these dates there is none for far longer than is usual."""
    steps = np.diff(day_D).astype(np.int64)
    if not len(steps):
        return []
    return [int(i) for i in np.flatnonzero(steps > max(LONG_GAP, MANY_STEPS * np.median(steps)))]


def lone_clocks(calendar_T: Moments) -> Mask:
    """Which moments have a time of day that hardly any other date has -> [T]."""
    days = calendar_T.astype("datetime64[D]")
    _, code_T, counts = np.unique(calendar_T - days, return_inverse=True, return_counts=True)
    lone_T: Mask = counts[code_T] <= max(1, RARE * len(np.unique(days)))
    return lone_T


def weekend(day_D: Dates) -> Mask:
    """Which dates are Saturdays or Sundays -> [D]."""
    mask_D: Mask = (day_D.astype(np.int64) + 3) % 7 >= SATURDAY
    return mask_D


def lone_weekdays(day_D: Dates) -> Dates:
    """Weekdays that are missing between two that are there, where a market trades five days a week.

    Holidays of one day are among them, those of several are not.

    >>> day_D = np.array(["2020-01-06", "2020-01-07", "2020-01-09", "2020-01-10", "2020-01-13"], "M8[D]")
    >>> lone_weekdays(day_D).tolist()
    [datetime.date(2020, 1, 8)]
    """
    if not len(day_D):
        return day_D
    every = np.arange(day_D[0], day_D[-1] + 1)
    every = every[~weekend(every)]
    there = np.isin(every, day_D)
    if there.sum() < MOST * max(len(every), len(day_D)):
        return day_D[:0]
    lone: Dates = every[1:-1][there[:-2] & ~there[1:-1] & there[2:]]
    return lone


def weekday_findings(day_D: Dates) -> Findings:
    """How many such weekdays there are, the first and the last of them."""
    lone = [str(day) for day in lone_weekdays(day_D)]
    finding = Finding(count=len(lone), examples=tuple(dict.fromkeys([*lone[:1], *lone[-1:]])))
    return {"weekday_without_bars": finding} if lone else {}


def _expected(bars_D: Counts, alive_D: Counts) -> NDArray[np.float64]:
    """How many have a bar where as many do as usual: bars that are rare by nature are no mistake."""
    some_D = alive_D > 0
    if not some_D.any():
        return np.zeros(len(alive_D))
    return np.asarray(alive_D * float(np.median(bars_D[some_D] / alive_D[some_D])), np.float64)


def _few(bars_D: Counts, expected_D: NDArray[np.floating], min_coverage: float) -> Mask:
    few_D: Mask = (bars_D < min_coverage * expected_D) | ((bars_D <= 1) & (expected_D >= LONE))
    return few_D
