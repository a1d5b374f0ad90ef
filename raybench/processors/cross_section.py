"""Processors that compare the instruments of a date: CSRankNorm, CSZScoreNorm, CSZFillna, ProcessInf.

NaN stays NaN in all but CSZFillna. A date is all the rows of the frame on it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from raybench.processors.base import Grouped, PerDate, Ranking
from raybench.processors.by_date import ByDate, Float32


@dataclass(frozen=True, slots=True, kw_only=True)
class CSRankNorm(Ranking):
    """(rank - 0.5) * 3.46 of the rank in (0, 1], ties averaged: about unit variance, and not quite zero mean.

    >>> two_dates = ByDate(date_R=np.array([0, 0, 0, 1, 1], np.int32), num_dates=2)
    >>> x_R = np.array([5.0, 7.0, 7.0, np.nan, 1.0], np.float32)
    >>> CSRankNorm(fields_group="label").transform(x_R, two_dates).astype(float).round(4).tolist()
    [-0.5767, 1.1533, 1.1533, nan, 1.73]
    """

    def transform(self, x_R: Float32, by_date: ByDate) -> Float32:
        return ((by_date.rank_pct(x_R) - 0.5) * 3.46).astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class CSZScoreNorm(Grouped, PerDate):
    """(x - mean) / std with ddof 1; method "robust": (x - median) / MAD / 1.4826, clipped to +-3.

    >>> two_dates = ByDate(date_R=np.array([0, 0, 0, 1], np.int32), num_dates=2)
    >>> norm = CSZScoreNorm(fields_group="feature", method="zscore")
    >>> [of_date_T.tolist() for of_date_T in norm.statistics(np.array([1.0, 3.0, np.nan, 1.0], np.float32), two_dates)]
    [[2.0, 1.0], [1.414..., nan]]
    """

    method: str

    def statistics(self, x_R: Float32, by_date: ByDate) -> tuple[Float32, ...]:
        if self.method == "zscore":
            mean_T = by_date.mean(x_R)
            return mean_T, by_date.std(x_R, mean_T)
        middle_T = by_date.median(x_R)
        with np.errstate(invalid="ignore"):
            return middle_T, by_date.median(np.abs(x_R - middle_T[by_date.date_R]))

    def apply(self, x: torch.Tensor, *statistics: torch.Tensor) -> torch.Tensor:
        x = x.sub_(statistics[0]).div_(statistics[1])
        return x if self.method == "zscore" else x.div_(1.4826).clamp_(-3, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class CSZFillna(Grouped, PerDate):
    """NaN becomes the mean of its date.

    >>> one_date = ByDate(date_R=np.zeros(3, np.int32), num_dates=1)
    >>> x_R = np.array([1.0, 3.0, np.nan], np.float32)
    >>> fill = CSZFillna(fields_group="feature")
    >>> (mean_T,) = fill.statistics(x_R, one_date)
    >>> fill.apply(torch.from_numpy(x_R), torch.from_numpy(mean_T[one_date.date_R])).tolist()
    [1.0, 3.0, 2.0]
    """

    def statistics(self, x_R: Float32, by_date: ByDate) -> tuple[Float32, ...]:
        return (by_date.mean(x_R),)

    def apply(self, x: torch.Tensor, *statistics: torch.Tensor) -> torch.Tensor:
        return torch.where(x.isnan(), statistics[0], x)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessInf(PerDate):
    """Infinities become the mean of the finite values of their date, in every column, the label too."""

    def statistics(self, x_R: Float32, by_date: ByDate) -> tuple[Float32, ...]:
        return (by_date.mean(x_R, np.isfinite(x_R)),)

    def apply(self, x: torch.Tensor, *statistics: torch.Tensor) -> torch.Tensor:
        return torch.where(x.isinf(), statistics[0], x)
