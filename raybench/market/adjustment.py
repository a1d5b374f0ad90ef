"""Whether prices are adjusted for splits and dividends, and adjusting them by a factor.

A factor is what Qlib calls so: adjusted price over raw price. Where it changes, a raw price jumps the other way and an
adjusted one does not. A vendor's adjusted close (yfinance's ``Adj Close``) says the same: its factor is adjusted over
raw close. Everything here looks at one instrument after another; rows without a price take no part.
"""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from raybench.columns.types import Floats
from raybench.market.bars import BarBlock
from raybench.market.quality import Findings, clock, found, merge

FACTOR = "factor"
JUMP = 0.6  # a split of two for one leaves half and what the night brought
NEIGHBOURS = np.timedelta64(10, "D")  # over a longer suspension a price may have gone anywhere
TELLING = 0.1  # root of the sum of squared steps of a factor: less drowns in what prices do anyway

SAME = 1e-3  # closes that agree to this are one: vendors round
_ADJUSTED_CLOSE = {"adjclose", "adjustedclose", "closeadj"}
_UP = ("open", "high", "low", "close", "vwap")


def adjusted(block: BarBlock, field: str) -> tuple[BarBlock, Findings]:
    """Prices times ``field``, volume divided by it -> the block, and the rows that have a price and no factor.

    Where ``field`` is an adjusted close the factor is what it is to the close.
    Such a row, or one whose factor is not above zero, becomes a row without values: raw among adjusted ones is wrong.
    """
    factor_R = block.fields[field].astype(np.float64)
    if is_adjusted_close(field):
        with np.errstate(divide="ignore", invalid="ignore"):  # no factor, and counted as such
            factor_R = factor_R / block.fields["close"]
    usable_R = np.isfinite(factor_R) & (factor_R > 0)
    lost = np.flatnonzero(~usable_R & np.isfinite(block.fields["close"]))
    factor_R = np.where(usable_R, factor_R, np.nan)
    fields = dict(block.fields)
    with np.errstate(over="ignore"):  # infinite, and counted as such
        fields |= {name: _float32(fields[name] * factor_R) for name in _UP if name in fields}
        fields["volume"] = _float32(fields["volume"] / factor_R)
    names = np.array(block.instruments, dtype=object)[block.code_R[lost]]
    places = [f"{name} {clock(when)}" for name, when in zip(names, block.datetime_R[lost], strict=True)]
    return replace(block, fields=fields), found("row_without_factor", places)


def is_adjusted_close(field: str) -> bool:
    """Whether a field is a vendor's adjusted close, by its name."""
    return re.sub(r"[\W_\d]+", "", field).lower() in _ADJUSTED_CLOSE


class Adjustment:
    """What the blocks of a dataset, one after another, show of how its prices were adjusted."""

    def __init__(self) -> None:
        self._jumps: Findings = {}
        self._steps: dict[str, tuple[float, float]] = {}
        self._raw: list[str] = []

    def add(self, block: BarBlock) -> None:
        """Look at one more block."""
        for i, name in enumerate(block.instruments):
            one = block.slice(i)
            places = [f"{name} {clock(when)}" for when in one.datetime_R[_jumps(one)]]
            self._jumps = merge(self._jumps, found("overnight_jump", places))
            if FACTOR in one.fields:
                self._steps[name] = _steps(one)
            if any(_differ(one.fields[field], one.fields["close"]) for field in filter(is_adjusted_close, one.fields)):
                self._raw.append(name)

    def findings(self) -> Findings:
        """Jumps overnight; and the instruments that are raw, or adjusted twice, where all together look so.

        All together, because one instrument moves by chance as it would if it were raw.
        """
        slope = _slope(*map(sum, zip(*self._steps.values(), strict=True))) if self._steps else 0.0
        kind = "raw_beside_factor" if slope < 0 else "adjusted_twice"
        alike = [name for name, steps in self._steps.items() if _slope(*steps) * slope > 0.25]
        by_factor = found(kind, alike if abs(slope) > 0.5 else [])
        return merge(merge(self._jumps, by_factor), found("raw_beside_adjusted_close", self._raw))


def _jumps(one: BarBlock) -> NDArray[np.int64]:
    """The rows whose open is far from the close before, of a date before."""
    rows = np.flatnonzero(_positive(one.fields["close"]) & _positive(one.fields["open"]))
    ratio = one.fields["open"][rows[1:]].astype(np.float64) / one.fields["close"][rows[:-1]]
    when = one.datetime_R[rows]
    overnight = when[1:].astype("datetime64[D]") > when[:-1].astype("datetime64[D]")
    near = when[1:] - when[:-1] <= NEIGHBOURS
    return rows[1:][((ratio < JUMP) | (ratio > 1 / JUMP)) & overnight & near]


def _steps(one: BarBlock) -> tuple[float, float]:
    """From row to row, the logarithms of factor and price: the sum of their products, and of the factor's squares."""
    rows = np.flatnonzero(_positive(one.fields["close"]) & _positive(one.fields[FACTOR]))
    step, move = (np.diff(np.log(one.fields[name][rows].astype(np.float64))) for name in (FACTOR, "close"))
    return float(step @ move), float(step @ step)


def _differ(left_R: Floats, right_R: Floats) -> bool:
    rows = _positive(left_R) & _positive(right_R)
    return bool((np.abs(left_R[rows] / right_R[rows] - 1) > SAME).any())


def _slope(product: float, square: float) -> float:
    """How far the price moves for each part of a step of the factor: -1 for raw prices, 0 for adjusted ones.

    0 too where the steps are too small to tell.
    """
    return product / square if square > TELLING**2 else 0.0


def _positive(value_R: Floats) -> NDArray[np.bool_]:
    return np.isfinite(value_R) & (value_R > 0)


def _float32(value_R: NDArray[np.float64]) -> Floats:
    return value_R.astype(np.float32)
