"""What a source brings to bars that are there: instrument by instrument, bar by bar.

R rows of a source, N instruments, T entries of the calendar of both. A row without a value says nothing. Values are
compared as they are stored, float32 after the same adjustment; NaN is NaN.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from raybench.columns.types import Floats, Moments
from raybench.errors import DataError
from raybench.market.bars import BarBlock, Bars
from raybench.market.calendar import positions
from raybench.market.census import has_bar
from raybench.market.importing.union import valued
from raybench.market.quality import EXAMPLES, PRICES, clock
from raybench.reports.text import numbered

ALIKE, APART = 2e-3, 5e-4  # the prices of one bar times one number, vendors' rounding aside, and not by one

Mask = NDArray[np.bool_]


@dataclass(slots=True, kw_only=True)
class Brought:
    """What a source brings.

    new, grown : instruments without bars so far; those with rows after their last one
    changed, until : those with other values, or with rows before their first, by the first moment that is another, and
        by the last one
    scaled : those of the changed whose every bar in both differs while older ones are not in the source
    rows : how many are new
    bars : where in the calendar of both each instrument has a bar behind the calendar so far
    """

    new: list[str] = field(default_factory=list)
    grown: list[str] = field(default_factory=list)
    changed: dict[str, np.datetime64] = field(default_factory=dict)
    until: dict[str, np.datetime64] = field(default_factory=dict)
    scaled: dict[str, np.datetime64] = field(default_factory=dict)
    rows: int = 0
    bars: dict[str, NDArray[np.int64]] = field(default_factory=dict)

    def any(self) -> bool:
        """Whether there is any of it."""
        return bool(self.new or self.grown or self.changed)

    def refuse_scaled(self, uri: str) -> None:
        """DataError if prices were restated and the source does not reach back to where they begin."""
        if self.scaled:
            some = [f"{name} from {clock(when)}" for name, when in list(self.scaled.items())[:EXAMPLES]]
            more = ", ..." if len(self.scaled) > EXAMPLES else ""
            raise DataError(
                f"{uri}: {numbered(len(self.scaled), 'instrument|instruments has|have')} other values on every date "
                f"that is there already ({', '.join(some)}{more}), as after a split or a dividend, and its older bars "
                "are not in it, which would stay as they were; bring the whole history of these instruments"
            )


class Comparison:
    """Compares blocks of a source with the bars that are there, one after another."""

    def __init__(self, bars: Bars, calendar_T: Moments) -> None:
        self.brought = Brought()
        self._bars = bars
        self._calendar_T = calendar_T
        self._lives = bars.lives(trailing=False)

    def add(self, block: BarBlock) -> None:
        """Compare the instruments of one more block."""
        there = [name for name in block.instruments if name in self._lives]
        start, end = (block.datetime_R.min(), block.datetime_R.max()) if block.rows else (None, None)
        old = self._bars.block(there, list(block.fields), start=start, end=end, trailing=False)
        known = _Known.of(block, old, self._calendar_T)
        behind = len(self._bars.calendar)
        for i, name in enumerate(block.instruments):
            rows = slice(int(block.start_N1[i]), int(block.start_N1[i + 1]))
            one = block.slice(i)
            bars = known.at_R[rows][has_bar(one.fields, one.rows)]
            self.brought.bars[name] = bars[bars >= behind]
            self._sort(name, one, known.part(rows))

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
            if when_R[0] > first and known.scaled():
                brought.scaled[name] = when_R[other_R][0]
        elif one.rows and when_R[-1] > last:
            brought.grown.append(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """Of each row of a source [R]: its place in the calendar, whether there is such a row and with another value.

    ratio_RP : of the prices that are in both, what comes to what is there; NaN where either has none
    """

    at_R: NDArray[np.int64]
    there_R: Mask
    differs_R: Mask
    ratio_RP: NDArray[np.float64]

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
        for name, value_R in block.fields.items():
            differs_R[there_R] |= ~_same(value_R[there_R], old.fields[name][hits])
        prices = [name for name in PRICES if name in block.fields]
        ratio_RP = np.full((len(key_R), len(prices)), np.nan)
        with np.errstate(divide="ignore", invalid="ignore"):
            for k, name in enumerate(prices):
                ratio_RP[there_R, k] = block.fields[name][there_R].astype(np.float64) / old.fields[name][hits]
        return cls(at_R=at_R, there_R=there_R, differs_R=differs_R, ratio_RP=ratio_RP)

    def part(self, rows: slice) -> _Known:
        """The same of some rows."""
        return _Known(
            at_R=self.at_R[rows],
            there_R=self.there_R[rows],
            differs_R=self.differs_R[rows],
            ratio_RP=self.ratio_RP[rows],
        )

    def scaled(self) -> bool:
        """Whether every bar that is in both differs; of a single one, all of its prices by the same number."""
        both_R = np.isfinite(self.ratio_RP).any(axis=1)
        if not both_R.any() or not self.differs_R[both_R].all():
            return False
        if both_R.sum() > 1:
            return True
        ratio_P = self.ratio_RP[both_R][0]
        return bool(np.ptp(ratio_P) <= ALIKE and abs(np.median(ratio_P) - 1) >= APART)


def _same(left_R: Floats, right_R: Floats) -> Mask:
    same_R: Mask = (left_R == right_R) | (np.isnan(left_R) & np.isnan(right_R))
    return same_R
