"""Per-date statistics of one column: rows [R] with date codes, results [T]. NaN rows never count.

Sums are taken in float64 and returned as float32; a date without a value has NaN.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Bool = npt.NDArray[np.bool_]
MANY_ROWS, STRETCHES = 200_000, 8


@dataclass(frozen=True, slots=True, kw_only=True)
class ByDate:
    """Rows grouped by date: ``date_R`` codes below ``num_dates``, in any order.

    >>> two_dates = ByDate(date_R=np.array([0, 1, 0, 1], np.int32), num_dates=2)
    >>> x_R = np.array([1.0, np.nan, 3.0, np.nan], np.float32)
    >>> two_dates.mean(x_R).tolist(), two_dates.rank_pct(x_R).tolist()
    ([2.0, nan], [0.5, nan, 1.0, nan])
    """

    date_R: npt.NDArray[np.int32]
    num_dates: int

    def take(self, rows: npt.NDArray[np.int64] | Bool) -> ByDate:
        """The same dates over some of the rows."""
        return ByDate(date_R=self.date_R[rows], num_dates=self.num_dates)

    def count(self, valid_R: Bool) -> npt.NDArray[np.int64]:
        """Rows of each date that are valid [T]."""
        return np.bincount(self.date_R[valid_R], minlength=self.num_dates)

    def mean(self, x_R: Float32, valid_R: Bool | None = None) -> Float32:
        """Mean of each date [T] over the valid rows (default: all but NaN)."""
        valid_R = ~np.isnan(x_R) if valid_R is None else valid_R
        with np.errstate(invalid="ignore", divide="ignore"):
            total_T = np.bincount(self.date_R[valid_R], weights=x_R[valid_R], minlength=self.num_dates)
            return (total_T / self.count(valid_R)).astype(np.float32)

    def std(self, x_R: Float32, mean_T: Float32) -> Float32:
        """Standard deviation of each date [T], ddof 1."""
        valid_R = ~np.isnan(x_R)
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            away_R = x_R[valid_R].astype(np.float64) - mean_T[self.date_R[valid_R]]
            total_T = np.bincount(self.date_R[valid_R], weights=away_R * away_R, minlength=self.num_dates)
            return np.sqrt(total_T / (self.count(valid_R) - 1)).astype(np.float32)

    def median(self, x_R: Float32) -> Float32:
        """Median of each date [T]."""
        valid_R = ~np.isnan(x_R)
        value_V, _ = self._sorted(x_R, valid_R)
        count_T = self.count(valid_R)
        start_T = np.cumsum(count_T) - count_T
        median_T = np.full(self.num_dates, np.nan, np.float32)
        has = count_T > 0
        low, high = (start_T + (count_T - 1) // 2)[has], (start_T + count_T // 2)[has]
        with np.errstate(invalid="ignore"):
            median_T[has] = (value_V[low] + value_V[high]) * np.float32(0.5)
        return median_T

    def rank_pct(self, x_R: Float32) -> npt.NDArray[np.float64]:
        """Rank of each row within its date over the number of values, ties averaged, NaN kept [R]."""
        rank_R = np.full(len(x_R), np.nan)
        for dates in self._stretches():  # what it takes to sort is several times a column
            rows = np.flatnonzero((self.date_R >= dates.start) & (self.date_R < dates.stop))
            if len(rows):
                rank_R[rows] = ByDate(date_R=self.date_R[rows] - dates.start, num_dates=len(dates))._rank(x_R[rows])
        return rank_R

    def _stretches(self) -> list[range]:
        """All dates, in a few stretches if there are many rows."""
        many = 1 if len(self.date_R) < MANY_ROWS else STRETCHES
        size = max(1, -(-self.num_dates // many))
        return [range(first, min(first + size, self.num_dates)) for first in range(0, self.num_dates, size)]

    def _rank(self, x_R: Float32) -> npt.NDArray[np.float64]:
        valid_R = ~np.isnan(x_R)
        rank_R = np.full(len(x_R), np.nan)
        if not valid_R.any():
            return rank_R
        value_V, row_V = self._sorted(x_R, valid_R)
        count_T = self.count(valid_R)
        date_V = np.repeat(np.arange(self.num_dates), count_T)
        begins = np.flatnonzero(np.r_[True, (value_V[1:] != value_V[:-1]) | (date_V[1:] != date_V[:-1])])
        ties = np.diff(np.r_[begins, len(value_V)])
        mean_rank_V = np.repeat(begins + (ties + 1) / 2, ties)
        start_T = np.cumsum(count_T) - count_T
        rank_R[row_V] = (mean_rank_V - start_T[date_V]) / count_T[date_V]
        return rank_R

    def _sorted(self, x_R: Float32, valid_R: Bool) -> tuple[Float32, npt.NDArray[np.int64]]:
        """Valid values in order of (date, value) [V], and their rows.

        One integer key holds both: the bits of a float32, turned so that they grow with the value.
        """
        row_V = np.flatnonzero(valid_R)
        value_V = x_R[row_V] + np.float32(0)  # -0 and 0 are equal
        bits = value_V.view(np.int32).astype(np.int64)
        key = (self.date_R[row_V].astype(np.int64) << 32) + np.where(bits < 0, -(bits + 2**31), bits)
        order = np.argsort(key)
        return value_V[order], row_V[order]
