"""Processors on one column: fit what is not fitted yet, and apply.

Shapes: K rows of the column, T dates. The column is float32 and is handed over: it may be changed in place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from raybench.processors.base import Elementwise, FittedElementwise, PerDate, Processor, Ranking
from raybench.processors.by_date import ByDate, Float32

DateRange = tuple[np.datetime64, np.datetime64]
"""First and last date, both inside."""

Params = tuple[float, ...]
Statistics = tuple[Float32, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """The rows of a column: their dates, and the range that processors without one of their own are fitted on."""

    dates: npt.NDArray[np.datetime64]
    by_date: ByDate
    fit_range: DateRange

    def take(self, rows: npt.NDArray[np.int64]) -> Rows:
        return Rows(dates=self.dates, by_date=self.by_date.take(rows), fit_range=self.fit_range)

    def fit_mask(self, processor: Processor) -> npt.NDArray[np.bool_]:
        """Rows [K] the processor may be fitted on."""
        start, end = self.fit_range
        if isinstance(processor, FittedElementwise):
            start = np.datetime64(processor.fit_start_time or start)
            end = np.datetime64(processor.fit_end_time or end)
        mask_K: npt.NDArray[np.bool_] = in_range(self.dates, (start, end))[self.by_date.date_R]
        return mask_K


def in_range(
    dates: npt.NDArray[np.datetime64], date_range: tuple[np.datetime64 | None, np.datetime64 | None]
) -> npt.NDArray[np.bool_]:
    """Which dates lie in a range of days, the whole last day included."""
    day = dates.astype("datetime64[D]")
    inside = np.ones(len(dates), np.bool_)
    start, end = date_range
    if start is not None:
        inside &= day >= start.astype("datetime64[D]")
    if end is not None:
        inside &= day <= end.astype("datetime64[D]")
    return inside


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnResult:
    """A processed column, and of each step its parameters and per-date statistics (empty where it has none)."""

    x_K: Float32
    params: list[Params] = field(default_factory=list)
    statistics: list[Statistics] = field(default_factory=list)


def process_column(
    steps: Sequence[Processor], x_K: Float32, rows: Rows, params: Sequence[Params] | None = None
) -> ColumnResult:
    """Run steps over one column; without ``params`` each is fitted on what the steps before it left."""
    result = ColumnResult(x_K=x_K)
    for i, step in enumerate(steps):
        fitted: Params = ()
        statistics: Statistics = ()
        if isinstance(step, Elementwise):
            if params is not None:
                fitted = params[i]
            elif step.num_params:
                fitted = step.fit(x_K[rows.fit_mask(step)])
            numbers = [torch.tensor(value, dtype=torch.float32) for value in fitted]
            x_K = step.apply(torch.from_numpy(x_K), *numbers).numpy()
        elif isinstance(step, PerDate):
            statistics = step.statistics(x_K, rows.by_date)
            of_row = [torch.from_numpy(stat_T[rows.by_date.date_R]) for stat_T in statistics]
            x_K = step.apply(torch.from_numpy(x_K), *of_row).numpy()
        elif isinstance(step, Ranking):
            x_K = step.transform(x_K, rows.by_date)
        result.params.append(fitted)
        result.statistics.append(statistics)
    return ColumnResult(x_K=x_K, params=result.params, statistics=result.statistics)
