"""Rolling operators over an instrument's rows: the arithmetic under Alpha158 and label expressions.

Shapes: N instruments of L rows each, oldest first and complete on the calendar; K window lengths, ascending.
Every operator takes float32 series [N, L], or one [L], and windows [K] (int64) and returns float64 [K, N, L], or
[K, L]: row t of window d sees rows t-d+1 .. t, fewer at the start of the history (pandas' ``min_periods=1``).

NaN rule: NaN and inf are holes. An operator works on what is left and is NaN where nothing is left; only
``argmax`` lets a hole win, as NumPy's argmax on the raw window does.

The work is compiled, in ``rolling_sums`` and ``rolling_order``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raybench.feature_sets import rolling_order, rolling_sums
from raybench.feature_sets.series import shift

__all__ = ["argmax", "correlation", "maximum", "moments", "quantiles", "rank", "shift", "total", "trend"]

Array = NDArray[Any]


def total(x_NL: Array, windows_K: Array) -> Array:
    """Sum."""
    return _each(rolling_sums.total, (x_NL,), windows_K)


def moments(x_NL: Array, windows_K: Array) -> tuple[Array, ...]:
    """Mean and standard deviation (ddof 1: NaN for a single value)."""
    return tuple(_each(rolling_sums.moments, (x_NL,), windows_K, kinds=2))


def trend(x_NL: Array, windows_K: Array) -> tuple[Array, ...]:
    """Mean, standard deviation, and of the least-squares line over the rows slope, r-square, newest residual.

    The line needs two values, and the residual a newest one; r-square of a constant is NaN.
    """
    return tuple(_each(rolling_sums.trend, (x_NL,), windows_K, kinds=5))


def correlation(x_NL: Array, y_NL: Array, windows_K: Array) -> Array:
    """Pearson correlation over the rows where both are valid; NaN where either does not vary."""
    return _each(rolling_sums.correlation, (x_NL, y_NL), windows_K)


def maximum(x_NL: Array, windows_K: Array) -> Array:
    """Largest value."""
    return _each(rolling_order.maximum, (x_NL,), windows_K)


def argmax(x_NL: Array, windows_K: Array) -> Array:
    """Position of the first largest value, counted from 1 at the oldest row; a hole is larger than any."""
    return _each(rolling_order.argmax, (x_NL,), windows_K)


def rank(x_NL: Array, windows_K: Array) -> Array:
    """Rank of the newest value as a share of the valid ones, ties averaged; NaN if the newest is a hole."""
    return _each(rolling_order.rank, (x_NL,), windows_K)


def quantiles(x_NL: Array, windows_K: Array, share_Q: Array) -> Array:
    """Quantiles [Q, K, N, L], linear between neighbours."""
    return _each(rolling_order.quantiles, (x_NL,), windows_K, share_Q, kinds=len(share_Q))


def _each(
    kernel: Callable[..., None], series: tuple[Array, ...], windows_K: Array, *more: Array, kinds: int | None = None
) -> Array:
    """Run a kernel on each instrument -> [K, N, L] or [K, L], as the series are; of several kinds, they come first."""
    given = [np.ascontiguousarray(np.atleast_2d(each), np.float32) for each in series]
    several = () if kinds is None else (kinds,)
    out = np.empty((len(given[0]), *several, len(windows_K), given[0].shape[1]))
    for n, out_KL in enumerate(out):
        kernel(*(each_NL[n] for each_NL in given), windows_K, *more, out_KL)
    return out[0] if series[0].ndim == 1 else np.moveaxis(out, 0, -2)
