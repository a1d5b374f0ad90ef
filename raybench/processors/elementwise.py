"""Processors that map value by value: RobustZScoreNorm, ZScoreNorm, MinMaxNorm, TanhProcess, Fillna.

NaN stays NaN in all but Fillna. A column without a single value has NaN parameters, so it becomes NaN.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from raybench.processors.base import Elementwise, FittedElementwise, Grouped, valid
from raybench.processors.by_date import Float32

_NAN = float("nan")


@dataclass(frozen=True, slots=True, kw_only=True)
class RobustZScoreNorm(FittedElementwise):
    """(x - median) / ((median |x - median| + 1e-12) * 1.4826), clipped to +-3 if ``clip_outlier``.

    >>> norm = RobustZScoreNorm(fields_group="feature", fit_start_time=None, fit_end_time=None, clip_outlier=True)
    >>> fitted = norm.fit(np.array([1.0, 2.0, 3.0, np.nan], np.float32))  # rows of the train segment
    >>> [round(value, 4) for value in fitted]
    [2.0, 1.4826]
    >>> norm.apply(torch.tensor([2.0, 3.4826, 100.0, _NAN]), *map(torch.tensor, fitted)).round(decimals=4).tolist()
    [0.0, 1.0, 3.0, nan]
    """

    num_params: ClassVar[int] = 2
    clip_outlier: bool

    def fit(self, x_K: Float32) -> tuple[float, ...]:
        x_V = valid(x_K)
        if not len(x_V):
            return _NAN, _NAN
        middle = np.median(x_V, overwrite_input=True)
        with np.errstate(invalid="ignore"):
            away_V = valid(np.abs(x_V - middle))
        if not len(away_V):
            return float(middle), _NAN
        spread = np.median(away_V, overwrite_input=True) + np.float32(1e-12)
        return float(middle), float(spread * np.float32(1.4826))

    def apply(self, x: torch.Tensor, *params: torch.Tensor) -> torch.Tensor:
        x = x.sub_(params[0]).div_(params[1])
        return x.clamp_(-3, 3) if self.clip_outlier else x


@dataclass(frozen=True, slots=True, kw_only=True)
class ZScoreNorm(FittedElementwise):
    """(x - mean) / std with ddof 0; a constant column is left as it is.

    >>> norm = ZScoreNorm(fields_group="feature", fit_start_time=None, fit_end_time=None)
    >>> norm.fit(np.array([1.0, 3.0, np.nan], np.float32)), norm.fit(np.full(3, 7.0, np.float32))
    ((2.0, 1.0), (0.0, 1.0))
    """

    num_params: ClassVar[int] = 2

    def fit(self, x_K: Float32) -> tuple[float, ...]:
        x_V = valid(x_K)
        if not len(x_V):
            return _NAN, _NAN
        with np.errstate(invalid="ignore", over="ignore"):
            mean = np.float32(x_V.mean(dtype=np.float64))
            away_V = x_V - mean
            # Squares and their sum overflow where they do in float32: Qlib's std is then infinite.
            total = np.float32((away_V * away_V).sum(dtype=np.float64))
            std = np.sqrt(total / np.float32(len(x_V)))
        return (0.0, 1.0) if std == 0 else (float(mean), float(std))

    def apply(self, x: torch.Tensor, *params: torch.Tensor) -> torch.Tensor:
        return x.sub_(params[0]).div_(params[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class MinMaxNorm(FittedElementwise):
    """(x - min) / (max - min); a constant column is left as it is.

    >>> norm = MinMaxNorm(fields_group="feature", fit_start_time=None, fit_end_time=None)
    >>> norm.fit(np.array([1.0, 3.0, np.nan], np.float32)), norm.fit(np.full(2, np.nan, np.float32))
    ((1.0, 2.0), (nan, nan))
    """

    num_params: ClassVar[int] = 2

    def fit(self, x_K: Float32) -> tuple[float, ...]:
        x_V = valid(x_K)
        if not len(x_V):
            return _NAN, _NAN
        low, high = x_V.min(), x_V.max()
        with np.errstate(invalid="ignore", over="ignore"):
            return (0.0, 1.0) if low == high else (float(low), float(high - low))

    def apply(self, x: torch.Tensor, *params: torch.Tensor) -> torch.Tensor:
        return x.sub_(params[0]).div_(params[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class TanhProcess(Elementwise):
    """tanh(x - 1) on features.

    >>> TanhProcess().apply(torch.tensor([1.0, _NAN])).tolist()
    [0.0, nan]
    """

    @property
    def groups(self) -> tuple[str, ...]:
        return ("feature",)

    def apply(self, x: torch.Tensor, *params: torch.Tensor) -> torch.Tensor:
        return x.sub_(1).tanh_()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fillna(Grouped, Elementwise):
    """NaN becomes ``fill_value``; infinities stay.

    >>> Fillna(fields_group=None, fill_value=0.5).apply(torch.tensor([1.0, _NAN, float("inf")])).tolist()
    [1.0, 0.5, inf]
    """

    fill_value: float

    def apply(self, x: torch.Tensor, *params: torch.Tensor) -> torch.Tensor:
        return x.nan_to_num_(nan=self.fill_value, posinf=float("inf"), neginf=float("-inf"))
