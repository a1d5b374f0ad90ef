"""Alpha360's flat columns as processors see them, each made from the raw fields when it is asked for.

Column f * W + w of M rows is field f at lag W-1-w over today's close (volume: over today's volume), so
one column is held at a time and the table of 6 W columns never is. Fitting is exact: it sees the whole
column. NaN: see ``windows.lag``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt
import torch

from raybench.data.frame import Run
from raybench.data.processors.base import Elementwise, PerDate, Processor
from raybench.data.processors.by_date import Float32
from raybench.data.processors.column import ColumnResult, Params, Rows, Statistics, process_column
from raybench.data.processors.table import ProcessedColumns, stack_params

VOLUME_EPS = np.float32(1e-12)
COLUMNS_AT_ONCE = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class LagStep:
    """A step that the columns went through: parameters [P, C] or per-date statistics, each [T, C]."""

    processor: Elementwise | PerDate
    params_PC: Float32
    statistics_TC: tuple[Float32, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LagColumns:
    """Columns over ``row_M``, rows of ``raw_P6`` (as in `LagWindows`), after ``steps``. ``date_M``: codes."""

    columns: tuple[str, ...]
    raw_P6: Float32
    row_M: npt.NDArray[np.int64]
    date_M: npt.NDArray[np.int32]
    run: Run
    steps: tuple[LagStep, ...] = ()

    @property
    def num_rows(self) -> int:
        return len(self.row_M)

    @property
    def step_len(self) -> int:
        return len(self.columns) // int(self.raw_P6.shape[1])

    def process(
        self, steps: Sequence[Processor], rows: Rows, params: Sequence[Float32] | None
    ) -> ProcessedColumns[LagColumns]:
        every = np.arange(len(self.columns))
        groups = [every[i : i + COLUMNS_AT_ONCE] for i in range(0, len(every), COLUMNS_AT_ONCE)]
        # the statistics are computed as if fitted: a run that only scores has other dates
        work = partial(_process, replace(self, run=map), list(steps), rows, params)
        results = [result for group in self.run(work, groups) for result in group]
        fitted = stack_params(steps, [given for given, _ in results])
        taken = []
        for i, step in enumerate(steps):
            assert isinstance(step, Elementwise | PerDate), "a ranking needs the whole table"
            statistics = [np.stack(parts, axis=1) for parts in zip(*(s[i] for _, s in results), strict=True)]
            taken.append(LagStep(processor=step, params_PC=fitted[i], statistics_TC=tuple(statistics)))
        return ProcessedColumns(table=replace(self, steps=(*self.steps, *taken)), params=fitted)

    def any_nan(self) -> npt.NDArray[np.bool_]:
        found = np.zeros(self.num_rows, np.bool_)
        for c in range(len(self.columns)):
            found |= np.isnan(self.column(c))
        return found

    def take(self, rows: npt.NDArray[np.int64]) -> LagColumns:
        return replace(self, row_M=self.row_M[rows], date_M=self.date_M[rows])

    def column(self, c: int) -> Float32:
        """Column ``c`` after the steps so far [M]."""
        field, place = divmod(c, self.step_len)
        value_M = self.raw_P6[self.row_M - (self.step_len - 1 - place), field]
        last = self.raw_P6.shape[1] - 1
        today_M = self.raw_P6[self.row_M, last] + VOLUME_EPS if field == last else self.raw_P6[self.row_M, 0]
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            x_M: Float32 = value_M / today_M
        for step in self.steps:
            x_M = apply_step(step, x_M, c, self.date_M)
        return x_M


def apply_step(step: LagStep, x_M: Float32, c: int, date_M: npt.NDArray[np.int32]) -> Float32:
    """Apply a finished step to column ``c``."""
    numbers = [torch.tensor(p, dtype=torch.float32) for p in step.params_PC[:, c]]
    numbers += [torch.from_numpy(s[date_M, c]) for s in step.statistics_TC]
    applied: Float32 = step.processor.apply(torch.from_numpy(x_M), *numbers).numpy()
    return applied


def _process(
    columns: LagColumns,
    steps: Sequence[Processor],
    rows: Rows,
    params: Sequence[Float32] | None,
    group: npt.NDArray[np.int64],
) -> list[tuple[list[Params], list[Statistics]]]:
    """Fit a group of columns; the columns themselves are not kept."""
    results = []
    for c in group:
        given = None if params is None else [tuple(map(float, p[:, c])) for p in params]
        result: ColumnResult = process_column(steps, columns.column(int(c)), rows, given)
        results.append((result.params, result.statistics))
    return results
