"""Steps with all their numbers, parameters and per-date statistics, so that any part of the rows can take them.

Shapes: C columns, P parameters, T dates, M rows. Rankings are no such steps: they need the whole date.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch

from raybench.fanout import Fanout
from raybench.processors.base import Elementwise, PerDate, Processor
from raybench.processors.by_date import Float32
from raybench.processors.column import Params, Rows, Statistics, process_column
from raybench.processors.table import stack_params

COLUMNS_AT_ONCE = 16

Numbers = tuple[list[Params], list[Statistics]]
"""Of one column, the parameters and the statistics of each step."""

T = TypeVar("T")

ReadColumns = Callable[[tuple[str, ...]], Float32]
"""Reads some columns of all rows [R, C], wherever they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedStep:
    """A step with its parameters [P, C] or its per-date statistics, each [T, C]."""

    processor: Elementwise | PerDate
    params_PC: Float32
    statistics_TC: tuple[Float32, ...]

    def apply(self, x_M: Float32, c: int, date_M: npt.NDArray[np.int32]) -> Float32:
        """Apply to rows of column ``c``, which may be changed in place."""
        numbers = [torch.tensor(p, dtype=torch.float32) for p in self.params_PC[:, c]]
        numbers += [torch.from_numpy(s[date_M, c]) for s in self.statistics_TC]
        applied: Float32 = self.processor.apply(torch.from_numpy(x_M), *numbers).numpy()
        return applied


def fit_columns(
    steps: Sequence[Processor],
    columns: tuple[str, ...],
    read: ReadColumns,
    rows: Rows,
    look: Callable[[tuple[str, ...], Float32], T],
    *,
    params: Sequence[Float32] | None = None,
    run: Fanout = map,
) -> tuple[tuple[AppliedStep, ...], list[T]]:
    """Fit steps exactly on a table that is never held: a few whole columns at a time, each group one task.

    Also returns what ``look`` says of each group as it is read, in the order of the columns.
    """
    every = range(0, len(columns), COLUMNS_AT_ONCE)
    groups = [list(range(first, min(first + COLUMNS_AT_ONCE, len(columns)))) for first in every]
    done = list(run(partial(_fit_group, steps, columns, read, rows, look, params), groups))
    return applied_steps(steps, [numbers for group, _ in done for numbers in group]), [looked for _, looked in done]


def _fit_group(
    steps: Sequence[Processor],
    columns: tuple[str, ...],
    read: ReadColumns,
    rows: Rows,
    look: Callable[[tuple[str, ...], Float32], T],
    params: Sequence[Float32] | None,
    group: Sequence[int],
) -> tuple[list[Numbers], T]:
    names = tuple(columns[c] for c in group)
    values_RC = read(names)
    looked = look(names, values_RC)
    parts = zip(group, values_RC.T, strict=True)
    numbers = [numbers_of(steps, np.ascontiguousarray(x_R), rows, params_of(params, c)) for c, x_R in parts]
    return numbers, looked


def numbers_of(steps: Sequence[Processor], x_R: Float32, rows: Rows, params: Sequence[Params] | None) -> Numbers:
    """The numbers of one column, whose values are used up."""
    result = process_column(steps, x_R, rows, params)
    return result.params, result.statistics


def params_of(params: Sequence[Float32] | None, c: int) -> list[Params] | None:
    """Of column ``c`` the parameters of each step, where they are known."""
    return None if params is None else [tuple(map(float, step_PC[:, c])) for step_PC in params]


def applied_steps(steps: Sequence[Processor], numbers: Sequence[Numbers]) -> tuple[AppliedStep, ...]:
    """Put the numbers of all columns together."""
    params = stack_params(steps, [of_column for of_column, _ in numbers])
    applied = []
    for i, step in enumerate(steps):
        assert isinstance(step, Elementwise | PerDate), "a ranking needs the whole table"
        statistics = [np.stack(parts, axis=1) for parts in zip(*(s[i] for _, s in numbers), strict=True)]
        applied.append(AppliedStep(processor=step, params_PC=params[i], statistics_TC=tuple(statistics)))
    return tuple(applied)
