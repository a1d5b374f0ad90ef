"""The operators of ``rolling`` for few rows of many instruments at once, in NumPy alone.

To load numba and its compiled kernels takes longer than to score a date. Over a few rows of each instrument NumPy
is fast enough, and here it does the same operations in the same order, so every bit is the same; a test holds it.

Shapes: series x_NL of N instruments with L rows each, oldest first; windows [K]; results [K, N, L], float64.
NaN rule: that of ``rolling``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from raybench.feature_sets.series import shift

__all__ = ["argmax", "correlation", "maximum", "moments", "quantiles", "rank", "shift", "total", "trend"]

Array = NDArray[Any]
_ZERO = np.float64(0.0)


def total(x_NL: Array, windows_K: Array) -> Array:
    """Sum."""
    lags = _Lags(x_NL, windows_K)
    value, present, _ = lags.valid(x_NL)
    found = []
    count, s1 = np.zeros((2, *x_NL.shape))
    for lag, ends in lags:
        count += lags.at(present, lag)
        s1 += lags.at(value, lag)
        if ends:
            found.append(np.where(count > 0.0, s1, np.nan))
    return np.stack(found)


def moments(x_NL: Array, windows_K: Array) -> tuple[Array, Array]:
    """Mean and standard deviation (ddof 1: NaN for a single value)."""
    lags = _Lags(x_NL, windows_K)
    value, present, ref = lags.valid(x_NL)
    means, stds = [], []
    n, s1, s2 = np.zeros((3, *x_NL.shape))
    for lag, ends in lags:
        p = lags.at(present, lag)
        u = (lags.at(value, lag) - ref) * p
        n += p
        s1 += u
        s2 += u * u
        if ends:
            means.append(np.where(n > 0.0, ref + s1 / n, np.nan))
            stds.append(np.where(n > 1.0, np.sqrt(_not_below_zero(s2 - s1 * s1 / n) / (n - 1.0)), np.nan))
    return np.stack(means), np.stack(stds)


def trend(x_NL: Array, windows_K: Array) -> tuple[Array, ...]:
    """Mean, standard deviation, and of the least-squares line over the rows slope, r-square, newest residual."""
    lags = _Lags(x_NL, windows_K)
    value, present, ref = lags.valid(x_NL)
    now = lags.at(present, 0)
    found: list[tuple[Array, ...]] = []
    n, s1, s2, sk, skk, sku = np.zeros((6, *x_NL.shape))
    for lag, ends in lags:
        p, k = lags.at(present, lag), np.float64(lag)
        u = (lags.at(value, lag) - ref) * p
        n += p
        s1 += u
        s2 += u * u
        sk += k * p
        skk += k * k * p
        sku += k * u
        if ends:
            found.append(_line(n, s1, s2, sk, skk, sku, ref, now))
    return tuple(np.stack(parts) for parts in zip(*found, strict=True))


def _line(
    n: Array, s1: Array, s2: Array, sk: Array, skk: Array, sku: Array, ref: Array, now: Array
) -> tuple[Array, ...]:
    """What the sums of a window make of its least-squares line; positions are -lag."""
    spread_x = n * skk - sk * sk
    spread_y = _not_below_zero(n * s2 - s1 * s1)
    joint = sk * s1 - n * sku
    slope = joint / spread_x
    square = np.where(spread_y > 0.0, joint * joint / (spread_x * spread_y), np.nan)
    rest = np.where(now > 0.0, -(s1 + slope * sk) / n, np.nan)
    line = np.sqrt(spread_y / n / (n - 1.0)), slope, square, rest
    mean = np.where(n > 0.0, ref + s1 / n, np.nan)
    return np.where(n == 1.0, ref, mean), *(np.where(n < 2.0, np.nan, part) for part in line)


def correlation(x_NL: Array, y_NL: Array, windows_K: Array) -> Array:
    """Pearson correlation over the rows where both are valid; NaN where either does not vary."""
    lags = _Lags(x_NL, windows_K)
    both = np.isfinite(x_NL) & np.isfinite(y_NL)
    value_a, present, ref_a = lags.valid(np.where(both, x_NL, np.float32(np.nan)))
    value_b, _, ref_b = lags.valid(np.where(both, y_NL, np.float32(np.nan)))
    found = []
    n, sa, sb, saa, sbb, sab = np.zeros((6, *x_NL.shape))
    for lag, ends in lags:
        p = lags.at(present, lag)
        a, b = (lags.at(value_a, lag) - ref_a) * p, (lags.at(value_b, lag) - ref_b) * p
        n += p
        sa += a
        sb += b
        saa += a * a
        sbb += b * b
        sab += a * b
        if ends:
            spread = np.sqrt((n * saa - sa * sa) * (n * sbb - sb * sb))
            found.append(np.where(spread > 0.0, (n * sab - sa * sb) / spread, np.nan))
    return np.stack(found)


def maximum(x_NL: Array, windows_K: Array) -> Array:
    """Largest value."""
    lags = _Lags(x_NL, windows_K)
    value = lags.padded(np.where(np.isfinite(x_NL), x_NL, np.float32(-np.inf)), -np.inf)
    found = []
    best = np.full(x_NL.shape, -np.inf, np.float32)
    for lag, ends in lags:
        v = lags.at(value, lag)
        best = np.where(v > best, v, best)
        if ends:
            found.append(np.where(best > -np.inf, best.astype(np.float64), np.nan))
    return np.stack(found)


def argmax(x_NL: Array, windows_K: Array) -> Array:
    """Position of the first largest value, counted from 1 at the oldest row; a hole is larger than any."""
    lags = _Lags(x_NL, windows_K)
    known = np.isfinite(x_NL)
    value = lags.padded(np.where(known, x_NL, np.float32(np.inf)), -np.inf)
    present = lags.padded(known.astype(np.float32), 0.0)
    found = []
    best, where, count = np.full(x_NL.shape, -np.inf, np.float32), np.zeros(x_NL.shape), np.zeros(x_NL.shape)
    first_L = np.arange(1, x_NL.shape[-1] + 1)
    for lag, ends in lags:
        v = lags.at(value, lag)
        better = v >= best  # an equal older row comes first
        best, where = np.where(better, v, best), np.where(better, np.float64(lag), where)
        count += lags.at(present, lag)
        if ends:
            found.append(np.where(count > 0.0, np.minimum(first_L, lag + 1) - where, np.nan))
    return np.stack(found)


def rank(x_NL: Array, windows_K: Array) -> Array:
    """Rank of the newest value as a share of the valid ones, ties averaged; NaN if the newest is a hole."""
    lags = _Lags(x_NL, windows_K)
    now = np.where(np.isfinite(x_NL), x_NL, np.float32(np.nan))
    value = lags.padded(now, np.nan)
    found = []
    count, less, equal = np.zeros((3, *x_NL.shape))
    for lag, ends in lags:
        v = lags.at(value, lag)
        count += ~np.isnan(v)
        less += v < now
        equal += v == now
        if ends:
            found.append(np.where(equal > 0.0, (less + (equal + 1.0) / 2.0) / count, np.nan))
    return np.stack(found)


def quantiles(x_NL: Array, windows_K: Array, share_Q: Array) -> Array:
    """Quantiles [Q, K, N, L], linear between neighbours, of the sorted window."""
    now = np.where(np.isfinite(x_NL), x_NL, np.float32(np.nan))
    found = np.full((len(share_Q), len(windows_K), *x_NL.shape), np.nan)
    for j, width in enumerate(windows_K):
        before = np.full((*x_NL.shape[:-1], int(width) - 1), np.nan, np.float32)
        held = np.sort(sliding_window_view(np.concatenate([before, now], axis=-1), int(width), axis=-1), axis=-1)
        n = (~np.isnan(held)).sum(axis=-1)
        for q, share in enumerate(share_Q):
            place = share * (n - 1)
            below = np.maximum(place, 0).astype(np.int64)
            low, high = (_picked(held, at) for at in (below, np.minimum(below + 1, int(width) - 1)))
            between = low + (high - low) * (place - below)
            found[q, j] = np.where(n == 0, np.nan, np.where(below + 1 < n, between, low))
    return found


class _Lags:
    """The walk from the newest row of every window to its oldest; each step sees the rows of one lag."""

    def __init__(self, x_NL: Array, windows_K: Array) -> None:
        self._length = x_NL.shape[-1]
        self._widths = {int(width) for width in windows_K}
        self._before = max(self._widths) - 1

    def __iter__(self) -> Iterator[tuple[int, bool]]:
        """Give each lag, and whether a window ends with it."""
        return ((lag, lag + 1 in self._widths) for lag in range(self._before + 1))

    def padded(self, x_NL: Array, fill: float) -> Array:
        """Put rows before the first, as many as the widest window reaches over."""
        before = np.full((*x_NL.shape[:-1], self._before), fill, x_NL.dtype)
        return np.concatenate([before, x_NL], axis=-1)

    def at(self, padded: Array, lag: int) -> Array:
        """See what each row finds ``lag`` rows before it."""
        start = self._before - lag
        return padded[..., start : start + self._length]

    def valid(self, x_NL: Array) -> tuple[Array, Array, Array]:
        """Split into values and presence (padded, 0 in holes) and the newest valid value [N, L]."""
        known = np.isfinite(x_NL)
        value = np.where(known, x_NL, np.float32(0)).astype(np.float64)
        newest = np.maximum.accumulate(np.where(known, np.arange(self._length), -1), axis=-1)
        ref = np.where(newest < 0, _ZERO, np.take_along_axis(value, np.maximum(newest, 0), axis=-1))
        return self.padded(value, 0.0), self.padded(known.astype(np.float64), 0.0), ref


def _not_below_zero(values: Array) -> Array:
    return np.where(values < 0.0, _ZERO, values)


def _picked(sorted_NLW: Array, at_NL: Array) -> Array:
    found: Array = np.take_along_axis(sorted_NLW, at_NL[..., None], axis=-1)[..., 0].astype(np.float64)
    return found
