"""The kinds of processors: each works on one column at a time, so that a table need not fit in
memory.

`Elementwise` is fitted on the rows of the fit range and then maps value by value. `PerDate` maps
value by value with statistics of the value's date. Both apply with torch operations that broadcast,
so the same code runs on a table column [R], on lagged windows [B, W, F] and on an accelerator.
`Ranking` needs the whole date and so works on columns only. `RowFilter` drops rows (of the learn
frame), `ColumnFilter` columns.

Arithmetic is float32, as it is in Qlib. ``apply`` may change its input: callers hand over what they
own.

What they are called, and which arguments each takes with which defaults, ``config.data.processors`` says; fields here
have the names of those arguments and hold what it has validated.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch

from raybench.processors.by_date import ByDate, Float32

GROUPS = ("feature", "label")


@dataclass(frozen=True, slots=True, kw_only=True)
class Processor:
    """What all have."""

    @property
    def groups(self) -> tuple[str, ...]:
        """The column groups it changes or looks at."""
        return GROUPS


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouped(Processor):
    """A `Processor` that can be told which columns: "feature", "label", or None for both."""

    fields_group: str | None

    @property
    def groups(self) -> tuple[str, ...]:
        return GROUPS if self.fields_group is None else (self.fields_group,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Elementwise(Processor):
    """Maps each value by ``num_params`` numbers that were fitted on its column."""

    num_params: ClassVar[int] = 0

    def fit(self, x_K: Float32) -> tuple[float, ...]:
        """The parameters, as float32 values, from the column's rows in the fit range."""
        return ()

    @abstractmethod
    def apply(self, x: torch.Tensor, *params: torch.Tensor) -> torch.Tensor:
        """Map values; each parameter broadcasts against ``x``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedElementwise(Grouped, Elementwise):
    """An `Elementwise` with a fit range, dates as ISO text; without one it is the train segment."""

    fit_start_time: str | None
    fit_end_time: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PerDate(Processor):
    """Maps each value by statistics of its date; they are computed anew on whatever rows are at hand."""

    @abstractmethod
    def statistics(self, x_R: Float32, by_date: ByDate) -> tuple[Float32, ...]:
        """Each statistic by date [T]."""

    @abstractmethod
    def apply(self, x: torch.Tensor, *statistics: torch.Tensor) -> torch.Tensor:
        """Map values; each statistic is that of the value's date and broadcasts against ``x``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking(Grouped):
    """Maps a whole column at once."""

    @abstractmethod
    def transform(self, x_R: Float32, by_date: ByDate) -> Float32:
        """The new column [R]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowFilter(Grouped):
    """Drops the rows of the learn frame that have NaN in one of its groups."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnFilter(Processor):
    """Keeps some of the feature columns, in the order of the table."""

    @abstractmethod
    def select(self, columns: tuple[str, ...]) -> tuple[str, ...]:
        """The columns that stay."""


def valid(x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The values that are not NaN."""
    return x[~np.isnan(x)]
