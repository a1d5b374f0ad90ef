"""How many numbers there are on each day of what features are made from: fields of bars, or columns of a table.

Shapes: R rows, D days, K names. NaN rule: NaN and infinities are no numbers. A row is *there* if any name has a number
in it, so a suspended instrument is not. Days and not moments: what the first hour of each day lacks is nothing odd.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from raybench.processors.by_date import Float32
from raybench.processors.column import DateRange, in_range

Counts = npt.NDArray[np.int64]

FRESH = "another close"
"""The name of closes that are not those of the bar before."""
RARELY = 0.1  # of the days of training, on which less may have been there than is called usual
OFTEN = 0.5  # of the rows on a day: what is there less often by its nature is not missed


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """``days`` [D] ascending; of each, how many rows there are, are there, and have a number of each name."""

    names: tuple[str, ...]
    days: npt.NDArray[np.datetime64]
    rows_D: Counts
    there_D: Counts
    count_DK: Counts

    @property
    def share_DK(self) -> npt.NDArray[np.float64]:
        """The share of the rows that are there; 0 on a day without any."""
        share_DK: npt.NDArray[np.float64] = self.count_DK / np.maximum(self.there_D, 1)[:, None]
        return share_DK

    def usual(self, during: DateRange) -> dict[str, float]:
        """The share that each name has at least on nine of ten days of a range; only of those that often have one."""
        inside_D = in_range(self.days, during) & (self.there_D > 0)
        if not inside_D.any():
            return {}
        share_K = np.quantile(self.share_DK[inside_D], RARELY, axis=0, method="higher")
        return {name: round(float(s), 3) for name, s in zip(self.names, share_K, strict=True) if s >= OFTEN}


def count_filled(columns: Mapping[str, Float32], datetime_R: npt.NDArray[np.datetime64]) -> Filled:
    """Count the numbers of some columns, each [R]."""
    days, day_R = np.unique(datetime_R.astype("datetime64[D]"), return_inverse=True)
    rows_D = np.bincount(day_R, minlength=len(days))
    gone_R = np.ones(len(day_R), np.bool_)
    count_DK = np.repeat(rows_D[:, None], len(columns), axis=1)
    for k, x_R in enumerate(columns.values()):
        missing_R = ~np.isfinite(x_R)
        gone_R &= missing_R
        if missing_R.any():
            count_DK[:, k] -= np.bincount(day_R[missing_R], minlength=len(days))
    there_D = rows_D - np.bincount(day_R[gone_R], minlength=len(days))
    return Filled(names=tuple(columns), days=days, rows_D=rows_D, there_D=there_D, count_DK=count_DK)


def below(parts: Sequence[Filled]) -> Filled | None:
    """Put together the same names in several parts of the rows."""
    if not parts:
        return None
    days = np.unique(np.concatenate([part.days for part in parts]))
    rows_D, there_D = np.zeros((2, len(days)), np.int64)
    count_DK = np.zeros((len(days), len(parts[0].names)), np.int64)
    for part in parts:
        at = np.searchsorted(days, part.days)
        rows_D[at] += part.rows_D
        there_D[at] += part.there_D
        count_DK[at] += part.count_DK
    return Filled(names=parts[0].names, days=days, rows_D=rows_D, there_D=there_D, count_DK=count_DK)


def beside(parts: Sequence[Filled]) -> Filled | None:
    """Put together several names of the same rows; as many are there as the fullest part knows of."""
    if not parts:
        return None
    return Filled(
        names=tuple(name for part in parts for name in part.names),
        days=parts[0].days,
        rows_D=parts[0].rows_D,
        there_D=np.max([part.there_D for part in parts], axis=0),
        count_DK=np.concatenate([part.count_DK for part in parts], axis=1),
    )
