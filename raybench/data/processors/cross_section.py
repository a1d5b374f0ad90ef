"""Processors that compare the instruments of a date: CSRankNorm, CSZScoreNorm, CSZFillna, ProcessInf.

NaN stays NaN in all but CSZFillna. A date is all the rows of the frame on it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from raybench.data.processors.base import PerDate, Ranking
from raybench.data.processors.by_date import ByDate, Float32
from raybench.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class CSRankNorm(Ranking):
    """(rank - 0.5) * 3.46 of the rank in (0, 1], ties averaged: about unit variance, and not quite zero mean."""

    def transform(self, x_R: Float32, by_date: ByDate) -> Float32:
        return ((by_date.rank_pct(x_R) - 0.5) * 3.46).astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class CSZScoreNorm(PerDate):
    """(x - mean) / std with ddof 1; method "robust": (x - median) / MAD / 1.4826, clipped to +-3."""

    method: str = "zscore"

    def __post_init__(self) -> None:
        # super() without arguments does not survive slots=True in Python 3.11
        super(CSZScoreNorm, self).__post_init__()
        if self.method not in ("zscore", "robust"):
            raise ConfigError(f"processor CSZScoreNorm: method is {self.method!r}, expected zscore or robust")

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
class CSZFillna(PerDate):
    """NaN becomes the mean of its date."""

    def statistics(self, x_R: Float32, by_date: ByDate) -> tuple[Float32, ...]:
        return (by_date.mean(x_R),)

    def apply(self, x: torch.Tensor, *statistics: torch.Tensor) -> torch.Tensor:
        return torch.where(x.isnan(), statistics[0], x)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessInf(PerDate):
    """Infinities become the mean of the finite values of their date, in every column, the label too."""

    @property
    def groups(self) -> tuple[str, ...]:
        return ("feature", "label")

    def statistics(self, x_R: Float32, by_date: ByDate) -> tuple[Float32, ...]:
        return (by_date.mean(x_R, np.isfinite(x_R)),)

    def apply(self, x: torch.Tensor, *statistics: torch.Tensor) -> torch.Tensor:
        return torch.where(x.isinf(), statistics[0], x)
