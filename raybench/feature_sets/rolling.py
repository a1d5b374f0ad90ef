"""Rolling operators over one instrument's rows: the arithmetic under Alpha158 and label expressions.

Shapes: L rows of one instrument, oldest first and complete on the calendar; K window lengths, ascending.
Every operator takes a float32 series [L] and windows [K] (int64) and returns float64 [K, L]: row t of
window d sees rows t-d+1 .. t, fewer at the start of the history (pandas' ``min_periods=1``).

NaN rule: NaN and inf are holes. An operator works on what is left and is NaN where nothing is left; only
``argmax`` lets a hole win, as NumPy's argmax on the raw window does.

No sum is carried from row to row. A window is added up from its newest row backwards, so that a value depends
on the rows in its own window only: an inf or a huge number leaves no trace once it has left, nothing later
can reach back, and the shorter windows are partial sums of the longest. What is summed is the distance to the
newest valid row. Being a member of the window, it is never further from the mean than sqrt(n) deviations, so
nothing cancels, and a window of equal values has a deviation of exactly 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from raybench.feature_sets.compiled import compiled
from raybench.feature_sets.series import shift as shift

Series = NDArray[np.float32]
Windows = NDArray[np.int64]
Values = NDArray[np.float64]

_CHUNK = 256  # rows whose accumulators stay in the first-level cache


@compiled
def _valid(x_L: Series, before: int) -> tuple[Values, Values, Values]:
    """Split into values and presence (both [before + L], 0 in holes) and the newest valid value [L]."""
    length = x_L.size
    value = np.zeros(before + length)
    present = np.zeros(before + length)
    newest_L = np.zeros(length)
    last = 0.0
    for t in range(length):
        x = np.float64(x_L[t])
        if np.isfinite(x):
            last = x
            value[before + t] = x
            present[before + t] = 1.0
        newest_L[t] = last
    return value, present, newest_L


@compiled
def total(x_L: Series, windows_K: Windows) -> Values:
    """Sum."""
    length, widest = x_L.size, windows_K[-1]
    value, present, _ = _valid(x_L, widest - 1)
    out_KL = np.empty((windows_K.size, length))
    count, s1 = np.empty(_CHUNK), np.empty(_CHUNK)
    for start in range(0, length, _CHUNK):
        rows = min(_CHUNK, length - start)
        count[:] = 0.0
        s1[:] = 0.0
        j = 0
        for lag in range(widest):
            first = start + widest - 1 - lag
            v, p = value[first : first + rows], present[first : first + rows]
            for i in range(rows):
                count[i] += p[i]
                s1[i] += v[i]
            if lag + 1 == windows_K[j]:
                out = out_KL[j, start : start + rows]
                for i in range(rows):
                    out[i] = s1[i] if count[i] > 0.0 else np.nan
                j += 1
    return out_KL


@compiled
def moments(x_L: Series, windows_K: Windows) -> tuple[Values, Values]:
    """Mean and standard deviation (ddof 1: NaN for a single value)."""
    length, widest = x_L.size, windows_K[-1]
    value, present, newest_L = _valid(x_L, widest - 1)
    mean_KL = np.empty((windows_K.size, length))
    std_KL = np.empty((windows_K.size, length))
    count, s1, s2 = np.empty(_CHUNK), np.empty(_CHUNK), np.empty(_CHUNK)
    for start in range(0, length, _CHUNK):
        rows = min(_CHUNK, length - start)
        count[:] = 0.0
        s1[:] = 0.0
        s2[:] = 0.0
        ref = newest_L[start : start + rows]
        j = 0
        for lag in range(widest):
            first = start + widest - 1 - lag
            v, p = value[first : first + rows], present[first : first + rows]
            for i in range(rows):
                u = (v[i] - ref[i]) * p[i]
                count[i] += p[i]
                s1[i] += u
                s2[i] += u * u
            if lag + 1 == windows_K[j]:
                mean, std = mean_KL[j, start : start + rows], std_KL[j, start : start + rows]
                for i in range(rows):
                    n = count[i]
                    mean[i] = ref[i] + s1[i] / n if n > 0.0 else np.nan
                    std[i] = np.sqrt(max(s2[i] - s1[i] * s1[i] / n, 0.0) / (n - 1.0)) if n > 1.0 else np.nan
                j += 1
    return mean_KL, std_KL


@compiled
def trend(x_L: Series, windows_K: Windows) -> tuple[Values, Values, Values, Values, Values]:
    """Mean, standard deviation, and of the least-squares line over the rows slope, r-square, newest residual.

    The line needs two values, and the residual a newest one; r-square of a constant is NaN.
    """
    length, widest, kinds = x_L.size, windows_K[-1], windows_K.size
    value, present, newest_L = _valid(x_L, widest - 1)
    mean_KL, std_KL = np.empty((kinds, length)), np.empty((kinds, length))
    slope_KL, square_KL = np.empty((kinds, length)), np.empty((kinds, length))
    rest_KL = np.empty((kinds, length))
    sums = np.empty((6, _CHUNK))
    count, s1, s2, sk, skk, sku = sums[0], sums[1], sums[2], sums[3], sums[4], sums[5]
    for start in range(0, length, _CHUNK):
        rows = min(_CHUNK, length - start)
        sums[:] = 0.0
        ref = newest_L[start : start + rows]
        now = present[start + widest - 1 : start + widest - 1 + rows]
        j = 0
        for lag in range(widest):
            first = start + widest - 1 - lag
            v, p = value[first : first + rows], present[first : first + rows]
            k = np.float64(lag)
            for i in range(rows):
                u = (v[i] - ref[i]) * p[i]
                count[i] += p[i]
                s1[i] += u
                s2[i] += u * u
                sk[i] += k * p[i]
                skk[i] += k * k * p[i]
                sku[i] += k * u
            if lag + 1 == windows_K[j]:
                for i in range(rows):
                    t = start + i
                    n = count[i]
                    if n < 2.0:
                        mean_KL[j, t] = ref[i] if n > 0.0 else np.nan
                        std_KL[j, t] = slope_KL[j, t] = square_KL[j, t] = rest_KL[j, t] = np.nan
                        continue
                    spread_x = n * skk[i] - sk[i] * sk[i]
                    spread_y = max(n * s2[i] - s1[i] * s1[i], 0.0)
                    joint = sk[i] * s1[i] - n * sku[i]  # positions are -lag
                    slope = joint / spread_x
                    mean_KL[j, t] = ref[i] + s1[i] / n
                    std_KL[j, t] = np.sqrt(spread_y / n / (n - 1.0))
                    slope_KL[j, t] = slope
                    square_KL[j, t] = joint * joint / (spread_x * spread_y) if spread_y > 0.0 else np.nan
                    rest_KL[j, t] = -(s1[i] + slope * sk[i]) / n if now[i] > 0.0 else np.nan
                j += 1
    return mean_KL, std_KL, slope_KL, square_KL, rest_KL


@compiled
def correlation(x_L: Series, y_L: Series, windows_K: Windows) -> Values:
    """Pearson correlation over the rows where both are valid; NaN where either does not vary."""
    length, widest = x_L.size, windows_K[-1]
    a_L, b_L = x_L.copy(), y_L.copy()
    for t in range(length):
        if not (np.isfinite(a_L[t]) and np.isfinite(b_L[t])):
            a_L[t] = b_L[t] = np.nan
    value_a, present, newest_a_L = _valid(a_L, widest - 1)
    value_b, _, newest_b_L = _valid(b_L, widest - 1)
    out_KL = np.empty((windows_K.size, length))
    sums = np.empty((6, _CHUNK))
    count, sa, sb, saa, sbb, sab = sums[0], sums[1], sums[2], sums[3], sums[4], sums[5]
    for start in range(0, length, _CHUNK):
        rows = min(_CHUNK, length - start)
        sums[:] = 0.0
        ref_a, ref_b = newest_a_L[start : start + rows], newest_b_L[start : start + rows]
        j = 0
        for lag in range(widest):
            first = start + widest - 1 - lag
            va, vb = value_a[first : first + rows], value_b[first : first + rows]
            p = present[first : first + rows]
            for i in range(rows):
                a = (va[i] - ref_a[i]) * p[i]
                b = (vb[i] - ref_b[i]) * p[i]
                count[i] += p[i]
                sa[i] += a
                sb[i] += b
                saa[i] += a * a
                sbb[i] += b * b
                sab[i] += a * b
            if lag + 1 == windows_K[j]:
                out = out_KL[j, start : start + rows]
                for i in range(rows):
                    n = count[i]
                    spread = np.sqrt((n * saa[i] - sa[i] * sa[i]) * (n * sbb[i] - sb[i] * sb[i]))
                    out[i] = (n * sab[i] - sa[i] * sb[i]) / spread if spread > 0.0 else np.nan
                j += 1
    return out_KL


@compiled
def maximum(x_L: Series, windows_K: Windows) -> Values:
    """Largest value."""
    length, widest = x_L.size, windows_K[-1]
    value = np.full(widest - 1 + length, -np.inf, np.float32)
    for t in range(length):
        if np.isfinite(x_L[t]):
            value[widest - 1 + t] = x_L[t]
    out_KL = np.empty((windows_K.size, length))
    best = np.empty(_CHUNK, np.float32)
    for start in range(0, length, _CHUNK):
        rows = min(_CHUNK, length - start)
        best[:] = -np.inf
        j = 0
        for lag in range(widest):
            first = start + widest - 1 - lag
            v = value[first : first + rows]
            for i in range(rows):
                best[i] = v[i] if v[i] > best[i] else best[i]
            if lag + 1 == windows_K[j]:
                out = out_KL[j, start : start + rows]
                for i in range(rows):
                    out[i] = best[i] if best[i] > -np.inf else np.nan
                j += 1
    return out_KL


@compiled
def argmax(x_L: Series, windows_K: Windows) -> Values:
    """Position of the first largest value, counted from 1 at the oldest row; a hole is larger than any."""
    length, widest = x_L.size, windows_K[-1]
    before = widest - 1
    value = np.full(before + length, -np.inf, np.float32)
    present = np.zeros(before + length, np.float32)
    for t in range(length):
        if np.isfinite(x_L[t]):
            value[before + t] = x_L[t]
            present[before + t] = 1.0
        else:
            value[before + t] = np.inf
    out_KL = np.empty((windows_K.size, length))
    best, where = np.empty(_CHUNK, np.float32), np.empty(_CHUNK, np.float32)
    count = np.empty(_CHUNK, np.float32)
    for start in range(0, length, _CHUNK):
        rows = min(_CHUNK, length - start)
        best[:] = -np.inf
        count[:] = 0.0
        j = 0
        for lag in range(widest):
            first = start + before - lag
            v, p = value[first : first + rows], present[first : first + rows]
            k = np.float32(lag)
            for i in range(rows):
                better = v[i] >= best[i]  # an equal older row comes first
                best[i] = v[i] if better else best[i]
                where[i] = k if better else where[i]
                count[i] += p[i]
            if lag + 1 == windows_K[j]:
                out = out_KL[j, start : start + rows]
                for i in range(rows):
                    oldest = min(start + i + 1, lag + 1)
                    out[i] = oldest - where[i] if count[i] > 0.0 else np.nan
                j += 1
    return out_KL


@compiled
def rank(x_L: Series, windows_K: Windows) -> Values:
    """Rank of the newest value as a share of the valid ones, ties averaged; NaN if the newest is a hole."""
    length, widest = x_L.size, windows_K[-1]
    value = np.full(widest - 1 + length, np.nan, np.float32)
    for t in range(length):
        if np.isfinite(x_L[t]):
            value[widest - 1 + t] = x_L[t]
    out_KL = np.empty((windows_K.size, length))
    counts = np.empty((3, _CHUNK), np.float32)
    count, less, equal = counts[0], counts[1], counts[2]
    one, zero = np.float32(1.0), np.float32(0.0)
    for start in range(0, length, _CHUNK):
        rows = min(_CHUNK, length - start)
        counts[:] = 0.0
        now = value[start + widest - 1 : start + widest - 1 + rows]
        j = 0
        for lag in range(widest):
            first = start + widest - 1 - lag
            v = value[first : first + rows]
            for i in range(rows):
                count[i] += one if v[i] == v[i] else zero
                less[i] += one if v[i] < now[i] else zero
                equal[i] += one if v[i] == now[i] else zero
            if lag + 1 == windows_K[j]:
                out = out_KL[j, start : start + rows]
                for i in range(rows):
                    place = np.float64(less[i]) + (np.float64(equal[i]) + 1.0) / 2.0
                    out[i] = place / count[i] if equal[i] > 0.0 else np.nan
                j += 1
    return out_KL


@compiled
def quantiles(x_L: Series, windows_K: Windows, share_Q: Values) -> Values:
    """Quantiles [Q, K, L], linear between neighbours, from a window that is kept sorted."""
    length = x_L.size
    out_QKL = np.full((share_Q.size, windows_K.size, length), np.nan)
    for j in range(windows_K.size):
        width = windows_K[j]
        held = np.empty(width + 1, np.float32)
        n = 0
        for t in range(length):
            old = x_L[t - width] if t >= width else np.float32(np.nan)
            if np.isfinite(old):
                low, high = 0, n - 1
                while low < high:
                    middle = (low + high) >> 1
                    if held[middle] < old:
                        low = middle + 1
                    else:
                        high = middle
                n -= 1
                for i in range(low, n):
                    held[i] = held[i + 1]
            new = x_L[t]
            if np.isfinite(new):
                i = n
                while i > 0 and held[i - 1] > new:
                    held[i] = held[i - 1]
                    i -= 1
                held[i] = new
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
    return out_QKL
