"""Rolling operators that compare: largest value, its place, rank, quantiles.

Compiled, for one instrument: a series [L] into ``out``, [K, L].

Rows are taken in chunks that stay in the first-level cache, and five rows of each window at a time. What is compared is
float32 throughout: the place in a window and the counts of a rank are small integers.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from raybench.feature_sets.compiled import compiled

Series = NDArray[np.float32]
Windows = NDArray[np.int64]
Values = NDArray[np.float64]

_CHUNK = 256


@compiled
def maximum(x_L: Series, windows_K: Windows, out_KL: Values) -> None:
    """Largest value."""
    length, widest = x_L.size, windows_K[-1]
    value = np.full(widest - 1 + length, -np.inf, np.float32)
    for t in range(length):
        if np.isfinite(x_L[t]):
            value[widest - 1 + t] = x_L[t]
    best = np.empty(_CHUNK, np.float32)
    for start in range(0, length, _CHUNK):
        rows = min(_CHUNK, length - start)
        best[:] = -np.inf
        lag = 0
        for j in range(windows_K.size):
            while lag < windows_K[j]:
                first = start + widest - 1 - lag
                if lag + 5 <= windows_K[j]:
                    v = value[first - 4 : first + rows]
                    for i in range(rows):
                        one = v[i] if v[i] > v[i + 1] else v[i + 1]
                        two = v[i + 2] if v[i + 2] > v[i + 3] else v[i + 3]
                        one = one if one > two else two
                        one = one if one > v[i + 4] else v[i + 4]
                        best[i] = one if one > best[i] else best[i]
                    lag += 5
                else:
                    v = value[first : first + rows]
                    for i in range(rows):
                        best[i] = v[i] if v[i] > best[i] else best[i]
                    lag += 1
            out = out_KL[j, start : start + rows]
            for i in range(rows):
                out[i] = best[i] if best[i] > -np.inf else np.nan


@compiled
def argmax(x_L: Series, windows_K: Windows, out_KL: Values) -> None:
    """Position of the first largest value, counted from 1 at the oldest row; a hole is larger than any."""
    length, widest = x_L.size, windows_K[-1]
    before = widest - 1
    value = np.full(before + length, -np.inf, np.float32)
    newest_L = np.empty(length, np.int64)  # row of the newest valid value
    newest = -widest  # none yet: before any window
    for t in range(length):
        if np.isfinite(x_L[t]):
            value[before + t] = x_L[t]
            newest = t
        else:
            value[before + t] = np.inf
        newest_L[t] = newest
    best, where = np.empty(_CHUNK, np.float32), np.empty(_CHUNK, np.float32)
    for start in range(0, length, _CHUNK):
        rows = min(_CHUNK, length - start)
        best[:] = -np.inf
        lag = 0
        for j in range(windows_K.size):
            while lag < windows_K[j]:
                few = lag + 5 > windows_K[j]
                first = start + before - lag
                if few:
                    _older(value[first : first + rows], np.float32(lag), best, where)
                else:
                    _five_older(value[first - 4 : first + rows], np.float32(lag), best, where)
                lag += 1 if few else 5
            out = out_KL[j, start : start + rows]
            for i in range(rows):
                t = start + i
                out[i] = min(t + 1, lag) - where[i] if newest_L[t] > t - lag else np.nan


@compiled
def _older(v: Series, lag: np.float32, best: Series, where: Series) -> None:
    """Let the rows ``lag`` before take the place of those that are not larger: an equal older row comes first."""
    for i in range(v.size):
        better = v[i] >= best[i]
        best[i] = v[i] if better else best[i]
        where[i] = lag if better else where[i]


@compiled
def _five_older(v: Series, lag: np.float32, best: Series, where: Series) -> None:
    """``_older`` for five lags; v[i + 4] is the first of them."""
    one, two, three, four = np.float32(1), np.float32(2), np.float32(3), np.float32(4)
    for i in range(v.size - 4):
        top, place = best[i], where[i]
        better = v[i + 4] >= top
        top, place = v[i + 4] if better else top, lag if better else place
        better = v[i + 3] >= top
        top, place = v[i + 3] if better else top, lag + one if better else place
        better = v[i + 2] >= top
        top, place = v[i + 2] if better else top, lag + two if better else place
        better = v[i + 1] >= top
        top, place = v[i + 1] if better else top, lag + three if better else place
        better = v[i] >= top
        best[i], where[i] = v[i] if better else top, lag + four if better else place


@compiled
def rank(x_L: Series, windows_K: Windows, out_KL: Values) -> None:
    """Rank of the newest value as a share of the valid ones, ties averaged; NaN if the newest is a hole."""
    length, widest = x_L.size, windows_K[-1]
    value = np.full(widest - 1 + length, np.nan, np.float32)
    valid_L1 = np.zeros(length + 1, np.int64)  # how many values there are before each row
    for t in range(length):
        valid_L1[t + 1] = valid_L1[t]
        if np.isfinite(x_L[t]):
            value[widest - 1 + t] = x_L[t]
            valid_L1[t + 1] += 1
    less, equal = np.empty(_CHUNK, np.float32), np.empty(_CHUNK, np.float32)
    for start in range(0, length, _CHUNK):
        rows = min(_CHUNK, length - start)
        less[:] = 0.0
        equal[:] = 0.0
        now = value[start + widest - 1 : start + widest - 1 + rows]
        lag = 0
        for j in range(windows_K.size):
            while lag < windows_K[j]:
                few = lag + 5 > windows_K[j]
                first = start + widest - 1 - lag
                if few:
                    _compare(value[first : first + rows], now, less, equal)
                else:
                    _compare_five(value[first - 4 : first + rows], now, less, equal)
                lag += 1 if few else 5
            out = out_KL[j, start : start + rows]
            for i in range(rows):
                t = start + i
                count = np.float32(valid_L1[t + 1] - valid_L1[max(t + 1 - lag, 0)])
                place = np.float64(less[i]) + (np.float64(equal[i]) + 1.0) / 2.0
                out[i] = place / count if equal[i] > 0.0 else np.nan


@compiled
def _compare(v: Series, now: Series, less: Series, equal: Series) -> None:
    one, zero = np.float32(1.0), np.float32(0.0)
    for i in range(now.size):
        less[i] += one if v[i] < now[i] else zero
        equal[i] += one if v[i] == now[i] else zero


@compiled
def _compare_five(v: Series, now: Series, less: Series, equal: Series) -> None:
    """``_compare`` with five older rows; v[i + 4] is the newest of them."""
    one, zero = np.float32(1.0), np.float32(0.0)
    for i in range(now.size):
        n = now[i]
        below = (one if v[i] < n else zero) + (one if v[i + 1] < n else zero) + (one if v[i + 2] < n else zero)
        same = (one if v[i] == n else zero) + (one if v[i + 1] == n else zero) + (one if v[i + 2] == n else zero)
        less[i] += below + (one if v[i + 3] < n else zero) + (one if v[i + 4] < n else zero)
        equal[i] += same + (one if v[i + 3] == n else zero) + (one if v[i + 4] == n else zero)


@compiled
def quantiles(x_L: Series, windows_K: Windows, share_Q: Values, out_QKL: Values) -> None:
    """Quantiles, ``out`` [Q, K, L], linear between neighbours, from a window that is kept sorted."""
    out_QKL[:] = np.nan  # where a window holds nothing
    length = x_L.size
    for j in range(windows_K.size):
        width = windows_K[j]
        held = np.empty(width, np.float32)
        n = 0
        for t in range(length):
            old = x_L[t - width] if t >= width else np.float32(np.nan)
            gone, come = np.isfinite(old), np.isfinite(x_L[t])
            if gone and come:
                _replace(held[:n], old, x_L[t])
            elif gone:
                n -= 1
                for i in range(_place(held[: n + 1], old), n):
                    held[i] = held[i + 1]
            elif come:
                _move_down(held, n, x_L[t])
                n += 1
            if n == 0:
                continue
            for q in range(share_Q.size):
                place = share_Q[q] * (n - 1)
                below = int(place)
                low_value = np.float64(held[below])
                if below + 1 < n:
                    out_QKL[q, j, t] = low_value + (np.float64(held[below + 1]) - low_value) * (place - below)
                else:
                    out_QKL[q, j, t] = low_value


@compiled
def _place(held: Series, x: np.float32) -> int:
    """Where the first of those equal to ``x`` stands, which is there."""
    low, high = 0, held.size - 1
    while low < high:
        middle = (low + high) >> 1
        smaller = held[middle] < x
        low = middle + 1 if smaller else low
        high = high if smaller else middle
    return low


@compiled
def _move_down(held: Series, i: int, x: np.float32) -> None:
    """Put ``x`` where ``i`` is free and all before is sorted."""
    while i > 0 and held[i - 1] > x:
        held[i] = held[i - 1]
        i -= 1
    held[i] = x


@compiled
def _replace(held: Series, old: np.float32, new: np.float32) -> None:
    """Let ``new`` take the place of ``old``: only what lies between them moves."""
    i, last = _place(held, old), held.size - 1
    if new <= old:
        _move_down(held, i, new)
        return
    while i < last and held[i + 1] < new:
        held[i] = held[i + 1]
        i += 1
    held[i] = new
