"""What a source brings to bars that are there: instrument by instrument, bar by bar.

R rows of a source, N instruments, T entries of the calendar of both, P prices, B bars that are in both. A row without a
value says nothing. Values are compared as they are stored, float32 after the same adjustment; NaN is NaN.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from raybench.columns.types import Floats, Moments
from raybench.errors import DataError
from raybench.market.bars import BarBlock, Bars
from raybench.market.calendar import positions
from raybench.market.census import has_bar, repeats
from raybench.market.importing.restated import restated
from raybench.market.importing.union import valued
from raybench.market.quality import PRICES, clock
from raybench.reports.text import numbered

BEFORE = np.timedelta64(30, "D")  # so far back lies the bar that one may repeat
NAMED = 20  # instruments in a refusal: whose history is to be brought is to be read off it

Mask = NDArray[np.bool_]


@dataclass(slots=True, kw_only=True)
class Brought:
    """What a source brings.

    new, grown : instruments without bars so far; those with rows after their last one
    changed, until : those with other values, or with rows before their first, by the first moment that is another, and
        by the last one
    scaled : those of the changed whose prices were restated while bars that are older are not in the source
    rows : how many are new
    lives : where in the calendar of both each instrument of the source has its first bar and its last
    bars : where each has bars at moments that are new, or on the newest date that is there
    again : which of those only repeat the bar before, here or there
    """

    new: list[str] = field(default_factory=list)
    grown: list[str] = field(default_factory=list)
    changed: dict[str, np.datetime64] = field(default_factory=dict)
    until: dict[str, np.datetime64] = field(default_factory=dict)
    scaled: dict[str, np.datetime64] = field(default_factory=dict)
    rows: int = 0
    lives: dict[str, tuple[int, int]] = field(default_factory=dict)
    bars: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    again: dict[str, NDArray[np.int64]] = field(default_factory=dict)

    def any(self) -> bool:
        """Whether there is any of it."""
        return bool(self.new or self.grown or self.changed)

    def newest(self) -> int:
        """The position of the newest bar at a moment that is new, or on the newest date that is there; -1 for none."""
        return max((int(at_R[-1]) for at_R in self.bars.values()), default=-1)

    def refuse_scaled(self, uri: str) -> None:
        """DataError if prices were restated and the source does not reach back to where they begin."""
        if self.scaled:
            some = [f"{name} from {clock(when)}" for name, when in list(self.scaled.items())[:NAMED]]
            more = ", ..." if len(self.scaled) > NAMED else ""
            raise DataError(
                f"{uri}: the prices of {numbered(len(self.scaled), 'instrument|instruments')} are restated, as after "
                f"a split or a dividend ({', '.join(some)}{more}), and older bars are not in it, which would stay as "
                "they were; bring the whole history of these instruments too, and all of it is appended"
            )


class Comparison:
    """Compares blocks of a source with the bars that are there, one after another."""

    def __init__(self, bars: Bars, calendar_T: Moments) -> None:
        self.brought = Brought()
        self._bars = bars
        self._calendar_T = calendar_T
        self._lives = bars.lives(trailing=False)
        newest = bars.calendar[-1].astype("datetime64[D]")
        self._told_T = np.isin(calendar_T, bars.calendar, invert=True) | (calendar_T >= newest)

    def add(self, block: BarBlock) -> None:
        """Compare the instruments of one more block."""
        there = [name for name in block.instruments if name in self._lives]
        start, end = (block.datetime_R.min() - BEFORE, block.datetime_R.max()) if block.rows else (None, None)
        old = self._bars.block(there, list(block.fields), start=start, end=end, trailing=False)
        known = _Known.of(block, old, self._calendar_T)
        code_of = {name: code for code, name in enumerate(old.instruments)}
        for i, name in enumerate(block.instruments):
            rows = slice(int(block.start_N1[i]), int(block.start_N1[i + 1]))
            one = block.slice(i)
            before = old.slice(code_of[name]) if name in code_of else one
            self._tell(name, one, known.at_R[rows], before)
            self._sort(name, one, known.part(rows))

    def _tell(self, name: str, one: BarBlock, at_R: NDArray[np.int64], before: BarBlock) -> None:
        """Remember when an instrument has bars; ``before``: its bars that are there, from shortly before the first."""
        bar_R = has_bar(one.fields, one.rows)
        if not bar_R.any():
            return
        at_B = at_R[bar_R]
        self.brought.lives[name] = (int(at_B[0]), int(at_B[-1]))
        told_B = self._told_T[at_B]
        if told_B.any():
            self.brought.bars[name] = at_B[told_B]
            self.brought.again[name] = at_B[told_B & _repeats_behind(one, bar_R, before)[bar_R]]

    def _sort(self, name: str, one: BarBlock, known: _Known) -> None:
        """Put an instrument where it belongs."""
        brought, when_R = self.brought, one.datetime_R
        if name not in self._lives:
            brought.new.append(name)
            brought.rows += one.rows
            return
        first, last = self._lives[name]
        brought.rows += int(((when_R > last) | (when_R < first)).sum())
        value_R = valued(one.fields, one.rows)
        other_R = (value_R & known.differs_R) | (when_R < first) | (value_R & ~known.there_R & (when_R < last))
        if other_R.any():
            brought.changed[name], brought.until[name] = when_R[other_R][0], when_R[other_R][-1]
            if when_R[0] > first and known.restated(one.fields):
                brought.scaled[name] = when_R[other_R][0]
        elif one.rows and when_R[-1] > last:
            brought.grown.append(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """Of each row of a source [R]: its place in the calendar, whether there is such a row and with another value.

    before : the values that are there, by field; NaN where there is none
    """

    at_R: NDArray[np.int64]
    there_R: Mask
    differs_R: Mask
    before: Mapping[str, Floats]

    @classmethod
    def of(cls, block: BarBlock, old: BarBlock, calendar_T: Moments) -> _Known:
        """Of the rows of ``block``, against ``old``."""
        at_R, width = positions(calendar_T, block.datetime_R), len(calendar_T)
        code_of = {name: code for code, name in enumerate(block.instruments)}
        code_N = np.array([code_of[name] for name in old.instruments], np.int64)
        key_O = code_N[old.code_R] * width + positions(calendar_T, old.datetime_R) if old.rows else np.empty(0, int)
        key_R = block.code_R.astype(np.int64) * width + at_R
        place_R = np.minimum(np.searchsorted(key_O, key_R), max(len(key_O) - 1, 0))
        there_R = key_O[place_R] == key_R if len(key_O) else np.zeros(len(key_R), bool)
        differs_R, hits = np.zeros(len(key_R), bool), place_R[there_R]
        before: dict[str, Floats] = {}
        for name, value_R in block.fields.items():
            before[name] = np.full(len(key_R), np.nan, np.float32)
            before[name][there_R] = old.fields[name][hits]
            differs_R[there_R] |= ~_same(value_R[there_R], old.fields[name][hits])
        return cls(at_R=at_R, there_R=there_R, differs_R=differs_R, before=before)

    def part(self, rows: slice) -> _Known:
        """The same of some rows."""
        return _Known(
            at_R=self.at_R[rows],
            there_R=self.there_R[rows],
            differs_R=self.differs_R[rows],
            before={name: value_R[rows] for name, value_R in self.before.items()},
        )

    def restated(self, now: Mapping[str, Floats]) -> bool:
        """Whether the prices that are in both were restated, as all that is older then is; ``now``: what comes."""
        names = [name for name in PRICES if name in now]
        before_RP, now_RP = (
            np.stack([values[name].astype(np.float64) for name in names], axis=1) for values in (self.before, now)
        )
        both_R: Mask = np.any(np.isfinite(before_RP) & np.isfinite(now_RP), axis=1)
        volume_R2 = np.full((len(self.at_R), 2), np.nan)
        if "volume" in now:
            volume_R2 = np.stack([self.before["volume"], now["volume"]], axis=1).astype(np.float64)
        return restated(before_RP[both_R], now_RP[both_R], volume_R2[both_R], self.at_R[both_R])


def _repeats_behind(one: BarBlock, bar_R: Mask, before: BarBlock) -> Mask:
    """Which rows of an instrument only repeat the bar before, be it among them or among those that are there."""
    old_R = before.datetime_R < one.datetime_R[0]
    fields = {name: np.concatenate([before.fields[name][old_R], value_R]) for name, value_R in one.fields.items()}
    old_bar_R = has_bar(before.fields, before.rows)[old_R]
    again_R: Mask = repeats(fields, np.concatenate([old_bar_R, bar_R]))[len(old_bar_R) :]
    return again_R


def _same(left_R: Floats, right_R: Floats) -> Mask:
    same_R: Mask = (left_R == right_R) | (np.isnan(left_R) & np.isnan(right_R))
    return same_R
