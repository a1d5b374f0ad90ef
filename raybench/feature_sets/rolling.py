"""Rolling operators over an instrument's rows: the arithmetic under Alpha158 and label expressions.

Shapes: N instruments of L rows each, oldest first and complete on the calendar; K window lengths, ascending.
Every operator takes float32 series [N, L], or one [L], and windows [K] (int64) and returns float64 [K, N, L], or
[K, L]: row t of window d sees rows t-d+1 .. t, fewer at the start of the history (pandas' ``min_periods=1``).

NaN rule: NaN and inf are holes. An operator works on what is left and is NaN where nothing is left; only
``argmax`` lets a hole win, as NumPy's argmax on the raw window does.

The work is compiled, in ``rolling_sums`` and ``rolling_order``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from raybench.feature_sets import rolling_order, rolling_sums
from raybench.feature_sets.series import shift

__all__ = ["argmax", "correlation", "maximum", "moments", "quantiles", "rank", "shift", "total", "trend"]

Array = NDArray[Any]


def total(x_NL: Array, windows_K: Array) -> Array:
    """Sum."""
    return _shaped(rolling_sums.total(_rows(x_NL), windows_K), x_NL)


def moments(x_NL: Array, windows_K: Array) -> tuple[Array, Array]:
    """Mean and standard deviation (ddof 1: NaN for a single value)."""
    mean, std = np.moveaxis(rolling_sums.moments(_rows(x_NL), windows_K), 1, 0)
    return _shaped(mean, x_NL), _shaped(std, x_NL)


def trend(x_NL: Array, windows_K: Array) -> tuple[Array, ...]:
    """Mean, standard deviation, and of the least-squares line over the rows slope, r-square, newest residual.

    The line needs two values, and the residual a newest one; r-square of a constant is NaN.
    """
    found = np.moveaxis(rolling_sums.trend(_rows(x_NL), windows_K), 1, 0)
    return tuple(_shaped(each, x_NL) for each in found)


def correlation(x_NL: Array, y_NL: Array, windows_K: Array) -> Array:
    """Pearson correlation over the rows where both are valid; NaN where either does not vary."""
    return _shaped(rolling_sums.correlation(_rows(x_NL), _rows(y_NL), windows_K), x_NL)


def maximum(x_NL: Array, windows_K: Array) -> Array:
    """Largest value."""
    return _shaped(rolling_order.maximum(_rows(x_NL), windows_K), x_NL)


def argmax(x_NL: Array, windows_K: Array) -> Array:
    """Position of the first largest value, counted from 1 at the oldest row; a hole is larger than any."""
    return _shaped(rolling_order.argmax(_rows(x_NL), windows_K), x_NL)


def rank(x_NL: Array, windows_K: Array) -> Array:
    """Rank of the newest value as a share of the valid ones, ties averaged; NaN if the newest is a hole."""
    return _shaped(rolling_order.rank(_rows(x_NL), windows_K), x_NL)


def quantiles(x_NL: Array, windows_K: Array, share_Q: Array) -> Array:
    """Quantiles [Q, K, N, L], linear between neighbours."""
    found = np.moveaxis(rolling_order.quantiles(_rows(x_NL), windows_K, share_Q), 1, 0)
    return np.stack([_shaped(each, x_NL) for each in found]) if x_NL.ndim == 1 else np.swapaxes(found, 1, 2)


def _rows(x: Array) -> Array:
    """As the kernels take it: float32 [N, L], one after the other in memory."""
    return np.ascontiguousarray(np.atleast_2d(x), np.float32)


def _shaped(found_NKL: Array, x: Array) -> Array:
    """What a kernel gave, windows first, as ``x`` has its instruments."""
    return found_NKL[0] if x.ndim == 1 else np.swapaxes(found_NKL, 0, 1)
