"""Rolling sums and what is made of them, compiled, for one instrument: a series [L] into ``out``, [K, L].

No sum is carried from row to row. A window is added up from its newest row backwards, so that a value depends
on the rows in its own window only: an inf or a huge number leaves no trace once it has left, nothing later
can reach back, and the shorter windows are partial sums of the longest. What is summed is the distance to the
newest valid row. Being a member of the window, it is never further from the mean than sqrt(n) deviations, so
nothing cancels, and a window of equal values has a deviation of exactly 0.

Rows are taken in chunks whose sums stay in the first-level cache. Where a chunk sees no hole, nothing is counted,
and five rows of each window are added at a time, which loads and stores the sums a fifth as often: the same additions
in the same order, so the same bits.
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
def _rows(start: int, length: int, widest: int) -> int:
    """How many rows the chunk at ``start`` has: the first ends where windows no longer reach before the history."""
    most = min(widest - 1, _CHUNK) if start == 0 and widest > 1 else _CHUNK
    return min(most, length - start)


@compiled
def _is_whole(present: Values, start: int, stop: int) -> bool:
    """Whether no row of these is a hole."""
    there = 0
    for i in range(start, stop):
        there += 1 if present[i] > 0.0 else 0
    return there == stop - start


@compiled
def total(x_L: Series, windows_K: Windows, out_KL: Values) -> None:
    """Sum."""
    length, widest = x_L.size, windows_K[-1]
    value, present, _ = _valid(x_L, widest - 1)
    count, s1 = np.empty(_CHUNK), np.empty(_CHUNK)
    start = 0
    while start < length:
        rows = _rows(start, length, widest)
        if _is_whole(present, start, start + rows + widest - 1):
            _total_whole(value, start, rows, windows_K, s1, out_KL)
            start += rows
            continue
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
        start += rows


@compiled
def _total_whole(value: Values, start: int, rows: int, windows_K: Windows, s1: Values, out_KL: Values) -> None:
    s1[:] = 0.0
    lag, widest = 0, windows_K[-1]
    for j in range(windows_K.size):
        while lag < windows_K[j]:
            first = start + widest - 1 - lag
            if lag + 5 <= windows_K[j]:
                v = value[first - 4 : first + rows]
                for i in range(rows):
                    s1[i] = s1[i] + v[i + 4] + v[i + 3] + v[i + 2] + v[i + 1] + v[i]
                lag += 5
            else:
                v = value[first : first + rows]
                for i in range(rows):
                    s1[i] += v[i]
                lag += 1
        out_KL[j, start : start + rows] = s1[:rows]


@compiled
def moments(x_L: Series, windows_K: Windows, out_2KL: Values) -> None:
    """Mean and standard deviation (ddof 1: NaN for a single value), ``out`` [2, K, L]."""
    mean_KL, std_KL = out_2KL[0], out_2KL[1]
    length, widest = x_L.size, windows_K[-1]
    value, present, newest_L = _valid(x_L, widest - 1)
    count, s1, s2 = np.empty(_CHUNK), np.empty(_CHUNK), np.empty(_CHUNK)
    start = 0
    while start < length:
        rows = _rows(start, length, widest)
        ref = newest_L[start : start + rows]
        if _is_whole(present, start, start + rows + widest - 1):
            _moments_whole(value, ref, start, windows_K, s1, s2, mean_KL, std_KL)
            start += rows
            continue
        count[:] = 0.0
        s1[:] = 0.0
        s2[:] = 0.0
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
        start += rows


@compiled
def _moments_whole(
    value: Values, ref: Values, start: int, windows_K: Windows, s1: Values, s2: Values, mean_KL: Values, std_KL: Values
) -> None:
    s1[:] = 0.0
    s2[:] = 0.0
    lag, widest, rows = 0, windows_K[-1], ref.size
    for j in range(windows_K.size):
        while lag < windows_K[j]:
            first = start + widest - 1 - lag
            if lag + 5 <= windows_K[j]:
                v = value[first - 4 : first + rows]
                for i in range(rows):
                    r = ref[i]
                    a, b, c, d, e = v[i + 4] - r, v[i + 3] - r, v[i + 2] - r, v[i + 1] - r, v[i] - r
                    s1[i] = s1[i] + a + b + c + d + e
                    s2[i] = s2[i] + a * a + b * b + c * c + d * d + e * e
                lag += 5
            else:
                v = value[first : first + rows]
                for i in range(rows):
                    u = v[i] - ref[i]
                    s1[i] += u
                    s2[i] += u * u
                lag += 1
        n = np.float64(windows_K[j])
        mean, std = mean_KL[j, start : start + rows], std_KL[j, start : start + rows]
        for i in range(rows):
            mean[i] = ref[i] + s1[i] / n
            std[i] = np.sqrt(max(s2[i] - s1[i] * s1[i] / n, 0.0) / (n - 1.0)) if n > 1.0 else np.nan


@compiled
def trend(x_L: Series, windows_K: Windows, out_5KL: Values) -> None:
    """Mean, standard deviation, and of the least-squares line over the rows slope, r-square, newest residual.

    ``out`` [5, K, L]. The line needs two values, and the residual a newest one; r-square of a constant is NaN.
    """
    length, widest = x_L.size, windows_K[-1]
    value, present, newest_L = _valid(x_L, widest - 1)
    sums = np.empty((6, _CHUNK))
    count, s1, s2, sk, skk, sku = sums[0], sums[1], sums[2], sums[3], sums[4], sums[5]
    start = 0
    while start < length:
        rows = _rows(start, length, widest)
        ref = newest_L[start : start + rows]
        if _is_whole(present, start, start + rows + widest - 1):
            _trend_whole(value, ref, start, windows_K, sums, out_5KL)
            start += rows
            continue
        sums[:] = 0.0
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
                    sums_of_row = count[i], s1[i], s2[i], sk[i], skk[i], sku[i]
                    _line(sums_of_row, ref[i], now[i] > 0.0, out_5KL[:, j, start + i])
                j += 1
        start += rows


@compiled
def _line(sums: tuple[float, ...], ref: float, now: bool, out_5: Values) -> None:
    """What ``trend`` gives of a row, of the sums of its window; positions are -lag."""
    n, s1, s2, sk, skk, sku = sums
    if n < 2.0:
        out_5[:] = np.nan
        out_5[0] = ref if n > 0.0 else np.nan
        return
    spread_x = n * skk - sk * sk
    spread_y = max(n * s2 - s1 * s1, 0.0)
    joint = sk * s1 - n * sku
    slope = joint / spread_x
    out_5[0] = ref + s1 / n
    out_5[1] = np.sqrt(spread_y / n / (n - 1.0))
    out_5[2] = slope
    out_5[3] = joint * joint / (spread_x * spread_y) if spread_y > 0.0 else np.nan
    out_5[4] = -(s1 + slope * sk) / n if now else np.nan


@compiled
def _trend_whole(value: Values, ref: Values, start: int, windows_K: Windows, sums: Values, out_5KL: Values) -> None:
    sums[:] = 0.0
    s1, s2, sku = sums[1], sums[2], sums[5]
    lag, widest, rows = 0, windows_K[-1], ref.size
    for j in range(windows_K.size):
        while lag < windows_K[j]:
            first, k = start + widest - 1 - lag, np.float64(lag)
            if lag + 5 <= windows_K[j]:
                v = value[first - 4 : first + rows]
                for i in range(rows):
                    r = ref[i]
                    a, b, c, d, e = v[i + 4] - r, v[i + 3] - r, v[i + 2] - r, v[i + 1] - r, v[i] - r
                    s1[i] = s1[i] + a + b + c + d + e
                    s2[i] = s2[i] + a * a + b * b + c * c + d * d + e * e
                    sku[i] = sku[i] + k * a + (k + 1.0) * b + (k + 2.0) * c + (k + 3.0) * d + (k + 4.0) * e
                lag += 5
            else:
                v = value[first : first + rows]
                for i in range(rows):
                    u = v[i] - ref[i]
                    s1[i] += u
                    s2[i] += u * u
                    sku[i] += k * u
                lag += 1
        _lines(np.float64(windows_K[j]), s1, s2, sku, ref, out_5KL[:, j, start : start + rows])


@compiled
def _lines(n: float, s1: Values, s2: Values, sku: Values, ref: Values, out_5R: Values) -> None:
    """``_line`` for rows without a hole, whose sums over positions and their squares are known."""
    if n < 2.0:
        out_5R[:] = np.nan
        out_5R[0] = ref
        return
    sk, skk = n * (n - 1.0) / 2.0, (n - 1.0) * n * (2.0 * n - 1.0) / 6.0
    spread_x = n * skk - sk * sk
    mean, std, slopes, square, rest = out_5R[0], out_5R[1], out_5R[2], out_5R[3], out_5R[4]
    for i in range(ref.size):
        spread_y = max(n * s2[i] - s1[i] * s1[i], 0.0)
        joint = sk * s1[i] - n * sku[i]
        slope = joint / spread_x
        mean[i] = ref[i] + s1[i] / n
        std[i] = np.sqrt(spread_y / n / (n - 1.0))
        slopes[i] = slope
        square[i] = joint * joint / (spread_x * spread_y) if spread_y > 0.0 else np.nan
        rest[i] = -(s1[i] + slope * sk) / n


@compiled
def correlation(x_L: Series, y_L: Series, windows_K: Windows, out_KL: Values) -> None:
    """Pearson correlation over the rows where both are valid; NaN where either does not vary."""
    length, widest = x_L.size, windows_K[-1]
    a_L, b_L = x_L.copy(), y_L.copy()
    for t in range(length):
        if not (np.isfinite(a_L[t]) and np.isfinite(b_L[t])):
            a_L[t] = b_L[t] = np.nan
    value_a, present, newest_a_L = _valid(a_L, widest - 1)
    value_b, _, newest_b_L = _valid(b_L, widest - 1)
    sums = np.empty((6, _CHUNK))
    count, sa, sb, saa, sbb, sab = sums[0], sums[1], sums[2], sums[3], sums[4], sums[5]
    start = 0
    while start < length:
        rows = _rows(start, length, widest)
        ref_a, ref_b = newest_a_L[start : start + rows], newest_b_L[start : start + rows]
        if _is_whole(present, start, start + rows + widest - 1):
            _correlation_whole(value_a, value_b, ref_a, ref_b, start, windows_K, sums, out_KL)
            start += rows
            continue
        sums[:] = 0.0
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
                _correlations(sums, out_KL[j, start : start + rows])
                j += 1
        start += rows


@compiled
def _correlations(sums: Values, out: Values) -> None:
    count, sa, sb, saa, sbb, sab = sums[0], sums[1], sums[2], sums[3], sums[4], sums[5]
    for i in range(out.size):
        n = count[i]
        spread = np.sqrt((n * saa[i] - sa[i] * sa[i]) * (n * sbb[i] - sb[i] * sb[i]))
        out[i] = (n * sab[i] - sa[i] * sb[i]) / spread if spread > 0.0 else np.nan


@compiled
def _correlation_whole(
    value_a: Values,
    value_b: Values,
    ref_a: Values,
    ref_b: Values,
    start: int,
    windows_K: Windows,
    sums: Values,
    out_KL: Values,
) -> None:
    sums[:] = 0.0
    count, sa, sb, saa, sbb, sab = sums[0], sums[1], sums[2], sums[3], sums[4], sums[5]
    lag, widest, rows = 0, windows_K[-1], ref_a.size
    for j in range(windows_K.size):
        while lag < windows_K[j]:
            first, few = start + widest - 1 - lag, lag + 5 > windows_K[j]
            back = 0 if few else 4
            va, vb = value_a[first - back : first + rows], value_b[first - back : first + rows]
            if few:
                for i in range(rows):
                    a, b = va[i] - ref_a[i], vb[i] - ref_b[i]
                    sa[i] += a
                    sb[i] += b
                    saa[i] += a * a
                    sbb[i] += b * b
                    sab[i] += a * b
            else:
                for i in range(rows):
                    r, s = ref_a[i], ref_b[i]
                    a0, a1, a2, a3, a4 = va[i + 4] - r, va[i + 3] - r, va[i + 2] - r, va[i + 1] - r, va[i] - r
                    b0, b1, b2, b3, b4 = vb[i + 4] - s, vb[i + 3] - s, vb[i + 2] - s, vb[i + 1] - s, vb[i] - s
                    sa[i] = sa[i] + a0 + a1 + a2 + a3 + a4
                    sb[i] = sb[i] + b0 + b1 + b2 + b3 + b4
                    saa[i] = saa[i] + a0 * a0 + a1 * a1 + a2 * a2 + a3 * a3 + a4 * a4
                    sbb[i] = sbb[i] + b0 * b0 + b1 * b1 + b2 * b2 + b3 * b3 + b4 * b4
                    sab[i] = sab[i] + a0 * b0 + a1 * b1 + a2 * b2 + a3 * b3 + a4 * b4
            lag += 1 if few else 5
        count[:] = np.float64(windows_K[j])
        _correlations(sums, out_KL[j, start : start + rows])
