"""Alpha360's flat columns as processors see them, each made from the raw fields when it is asked for.

Column f * W + w of M rows is field f at lag W-1-w over today's close (volume: over today's volume), so
one column is held at a time and the table of 6 W columns never is. Fitting is exact: it sees the whole
column. NaN: see ``panel.windows.lag``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt

from raybench.fanout import Fanout
from raybench.processors.applied import AppliedStep, Numbers, applied_steps, numbers_of, params_of
from raybench.processors.base import Processor
from raybench.processors.by_date import Float32
from raybench.processors.column import Rows
from raybench.processors.table import ProcessedColumns

VOLUME_EPS = np.float32(1e-12)
COLUMNS_AT_ONCE = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class LagColumns:
    """Columns over ``row_M``, rows of ``raw_P6`` (as in `LagWindows`), after ``steps``. ``date_M``: codes."""

    columns: tuple[str, ...]
    raw_P6: Float32
    row_M: npt.NDArray[np.int64]
    date_M: npt.NDArray[np.int32]
    run: Fanout
    steps: tuple[AppliedStep, ...] = ()

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
        taken = applied_steps(steps, [result for group in self.run(work, groups) for result in group])
        table = replace(self, steps=(*self.steps, *taken))
        return ProcessedColumns(table=table, params=[step.params_PC for step in taken])

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
            x_M = step.apply(x_M, c, self.date_M)
        return x_M


def _process(
    columns: LagColumns,
    steps: Sequence[Processor],
    rows: Rows,
    params: Sequence[Float32] | None,
    group: npt.NDArray[np.int64],
) -> list[Numbers]:
    """Fit a group of columns; the columns themselves are not kept."""
    return [numbers_of(steps, columns.column(int(c)), rows, params_of(params, int(c))) for c in group]
