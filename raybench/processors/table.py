"""Feature columns that processors can run over, and the plain case: an array in memory or in a mapped file.

Shapes: M table rows, F columns, P parameters of a step.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Generic, Protocol, Self, TypeVar

import numpy as np
import numpy.typing as npt

from raybench.fanout import Fanout
from raybench.processors.base import Processor
from raybench.processors.by_date import Float32
from raybench.processors.column import Params, Rows, process_column

Table = TypeVar("Table", covariant=True)

COLUMNS_AT_ONCE = 16  # at most: one cache line of float32 per row
SHARE_AT_ONCE = 8  # and at most an eighth of the table, which the copies lie beside


class FeatureColumns(Protocol):
    """Columns that take steps one after the other."""

    @property
    def columns(self) -> tuple[str, ...]: ...

    @property
    def num_rows(self) -> int: ...

    def process(
        self, steps: Sequence[Processor], rows: Rows, params: Sequence[Float32] | None
    ) -> ProcessedColumns[Self]:
        """Run steps over every column; without ``params`` [P, F] of each step, fit them."""
        ...

    def any_nan(self) -> npt.NDArray[np.bool_]:
        """Rows [M] with NaN in any column."""
        ...

    def take(self, rows: npt.NDArray[np.int64]) -> Self:
        """A copy of some rows."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessedColumns(Generic[Table]):
    """The columns after some steps, and each step's parameters [P, F]."""

    table: Table
    params: list[Float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayColumns:
    """A table ``feature_MF`` that is processed in place, so it must be the caller's own.

    mapped: it lies in a file, and so will copies of it. run: spreads a few columns at a time.
    """

    columns: tuple[str, ...]
    feature_MF: Float32
    mapped: bool = False
    run: Fanout = map

    @property
    def num_rows(self) -> int:
        return len(self.feature_MF)

    def process(
        self, steps: Sequence[Processor], rows: Rows, params: Sequence[Float32] | None
    ) -> ProcessedColumns[ArrayColumns]:
        fitted: list[list[Params]] = []
        work = partial(_process, list(steps), rows, params)
        for first, block_CM, found in self.run(work, self._blocks()):
            self.feature_MF[:, first : first + len(block_CM)] = block_CM.T
            fitted += found
            del block_CM
        return ProcessedColumns(table=self, params=stack_params(steps, fitted))

    def any_nan(self) -> npt.NDArray[np.bool_]:
        found = np.zeros(self.num_rows, np.bool_)
        for _, block_CM in self._blocks():
            found |= np.isnan(block_CM).any(axis=0)
        return found

    def take(self, rows: npt.NDArray[np.int64]) -> ArrayColumns:
        copy = mapped_array((len(rows), len(self.columns))) if self.mapped else None
        copy = np.take(self.feature_MF, rows, axis=0, out=copy, mode="clip")  # clip: buffers nothing
        return replace(self, feature_MF=copy)

    def _blocks(self) -> Iterator[tuple[int, Float32]]:
        """Copies of a few columns at a time, each column contiguous, with the place of the first."""
        width = min(COLUMNS_AT_ONCE, max(1, len(self.columns) // SHARE_AT_ONCE))
        for first in range(0, len(self.columns), width):
            yield first, np.ascontiguousarray(self.feature_MF[:, first : first + width].T)


def _process(
    steps: Sequence[Processor], rows: Rows, params: Sequence[Float32] | None, block: tuple[int, Float32]
) -> tuple[int, Float32, list[list[Params]]]:
    """Run steps over a few columns [C, M] from column ``first`` of the table on; without ``params``, fit them."""
    first, given_CM = block
    block_CM = (
        given_CM if given_CM.flags.writeable else given_CM.copy()
    )  # what came through an object store is not ours
    fitted: list[list[Params]] = []
    for i, x_M in enumerate(block_CM):
        given = None if params is None else [tuple(map(float, p[:, first + i])) for p in params]
        result = process_column(steps, x_M, rows, given)
        block_CM[i] = result.x_K
        fitted.append(result.params)
    return first, block_CM, fitted


def mapped_array(shape: tuple[int, int]) -> Float32:
    """A float32 array in a temporary file that nobody else sees and that goes with the array."""
    with tempfile.TemporaryFile(prefix="raybench-") as file:
        file.truncate(max(1, shape[0] * shape[1] * 4))
        return np.memmap(file, np.float32, mode="r+", shape=shape) if shape[0] else np.empty(shape, np.float32)


def stack_params(steps: Sequence[Processor], fitted: Sequence[Sequence[Params]]) -> list[Float32]:
    """Turn per-column lists of per-step parameters into one [P, F] array per step."""
    if not fitted:
        return [np.zeros((0, 0), np.float32) for _ in steps]
    return [
        np.array([column[i] for column in fitted], np.float32).reshape(len(fitted), -1).T for i in range(len(steps))
    ]
