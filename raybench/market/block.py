"""Bars in memory: the rows of some instruments, whole or of a range of dates.

R rows, N instruments. The rows of one instrument are contiguous and in the order of time. NaN: a suspended date.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from raybench.columns import moments, numbers
from raybench.columns.frames import long_frame
from raybench.columns.names import CUSTOMARY
from raybench.columns.types import Floats, Moments
from raybench.errors import DataError
from raybench.market.calendar import complete

if TYPE_CHECKING:  # half a second that scoring a date does without
    import pandas as pd


@dataclass(frozen=True, slots=True, kw_only=True)
class BarBlock:
    """The bars of some instruments in memory.

    Parameters
    ----------
    instruments : N names, sorted
    start_N1 : int64 [N + 1], rows ``start_N1[i]`` to ``start_N1[i + 1]`` belong to ``instruments[i]``
    datetime_R : datetime64[us] [R]
    fields : name -> float32 [R]
    """

    instruments: tuple[str, ...]
    start_N1: NDArray[np.int64]
    datetime_R: Moments
    fields: dict[str, Floats]

    @property
    def rows(self) -> int:
        return len(self.datetime_R)

    @property
    def code_R(self) -> NDArray[np.int32]:
        """Which of ``instruments`` each row belongs to."""
        return np.repeat(np.arange(len(self.instruments), dtype=np.int32), np.diff(self.start_N1))

    def slice(self, i: int) -> BarBlock:
        """The block of ``instruments[i]`` alone; no copy."""
        start, stop = int(self.start_N1[i]), int(self.start_N1[i + 1])
        return BarBlock(
            instruments=(self.instruments[i],),
            start_N1=np.array([0, stop - start], dtype=np.int64),
            datetime_R=self.datetime_R[start:stop],
            fields={name: value_R[start:stop] for name, value_R in self.fields.items()},
        )

    def since(self, moment: np.datetime64) -> BarBlock:
        """The rows from ``moment`` on, without instruments that ended before."""
        return self.where(self.datetime_R >= moment)

    def where(self, kept_R: NDArray[np.bool_]) -> BarBlock:
        """The rows that are ``kept_R``, without instruments that have none of them."""
        if kept_R.all():
            return self
        count_N = np.add.reduceat(np.r_[kept_R, False], self.start_N1[:-1]) * (np.diff(self.start_N1) > 0)
        there_N = count_N > 0
        return BarBlock(
            instruments=tuple(name for name, there in zip(self.instruments, there_N, strict=True) if there),
            start_N1=np.cumsum([0, *count_N[there_N]]).astype(np.int64),
            datetime_R=self.datetime_R[kept_R],
            fields={name: value_R[kept_R] for name, value_R in self.fields.items()},
        )

    def to_frame(self) -> pd.DataFrame:
        """A table with the columns instrument, datetime and the fields."""
        import pandas as pd

        names = np.repeat(np.array(self.instruments, dtype=object), np.diff(self.start_N1))
        return pd.DataFrame({"instrument": names, "datetime": self.datetime_R, **self.fields})

    @classmethod
    def from_frame(cls, bars: pd.DataFrame, fields: Sequence[str] | None = None) -> BarBlock:
        """From a table with the columns (or index levels) instrument, datetime, and numeric fields.

        Rows may come in any order; the calendar is the dates that occur, and what an instrument lacks between
        its first bar and its last becomes NaN rows.
        """
        import pandas as pd

        bars, values_R = frame_columns(bars, fields)
        datetime_R = moments.datetimes(bars["datetime"], where=FRAME)
        code_R, named = pd.factorize(moments.names(bars["instrument"], where=FRAME).to_numpy(False), sort=True)
        order = np.lexsort((datetime_R, code_R))
        datetime_R, code_R = datetime_R[order], code_R[order]
        double = np.flatnonzero((code_R[1:] == code_R[:-1]) & (datetime_R[1:] == datetime_R[:-1]))
        if len(double):
            at = double[0]
            raise DataError(f"{FRAME} have two rows for {named[code_R[at]]} at {datetime_R[at]}; want one")
        values = {name: value_R[order] for name, value_R in values_R.items()}
        edges = np.searchsorted(code_R, np.arange(len(named) + 1)).tolist()
        calendar_T = np.unique(datetime_R)
        return block_of(
            (name, *complete(calendar_T, datetime_R[a:b], {f: v_R[a:b] for f, v_R in values.items()}))
            for name, (a, b) in zip(named, itertools.pairwise(edges), strict=True)
        )


FRAME = "the bars"
_FIELDS = ("open", "high", "low", "close", "volume", "vwap")


def frame_columns(bars: pd.DataFrame, fields: Sequence[str] | None = None) -> tuple[pd.DataFrame, dict[str, Floats]]:
    """A frame of bars with the columns instrument and datetime under these names, and its fields as float32."""
    bars = long_frame(bars, what=FRAME, series="close", wanted=CUSTOMARY)
    missing = [c for c in fields or () if c not in bars.columns]
    if missing:
        raise DataError(f"{FRAME} have no column {missing[0]}; they have {', '.join(map(str, bars.columns))}")
    return bars, _fields(bars, fields)


def _fields(bars: pd.DataFrame, wanted: Sequence[str] | None) -> dict[str, Floats]:
    """Columns of a frame as float32: those wanted, else every one that holds numbers, objects of them included."""
    found: dict[str, Floats] = {}
    for name in bars.columns if wanted is None else wanted:
        if name in ("instrument", "datetime"):
            continue
        column = moments.arrow(bars[name])
        mixed = moments.is_text(column.type) and bars[name].dtype == object  # numbers of several kinds, or text
        number = numbers.is_number(column.type) or (mixed and numbers.mostly_numbers(column))
        if wanted is not None or name in _FIELDS or number:
            found[str(name)] = numbers.floats(column, str(name), where=FRAME)
    return found


def block_of(parts: Iterable[tuple[str, Moments, dict[str, Floats]]], fields: Sequence[str] = ()) -> BarBlock:
    """Join instruments, each complete and given in sorted order, to one block; ``fields``: what none of them have."""
    names, moments, columns = [], [], []
    for name, datetime_R, values in parts:
        names.append(name)
        moments.append(datetime_R)
        columns.append(values)
    known = list(columns[0]) if columns else list(fields)
    return BarBlock(
        instruments=tuple(names),
        start_N1=np.cumsum([0, *map(len, moments)]).astype(np.int64),
        datetime_R=np.concatenate([np.empty(0, "datetime64[us]"), *moments]),
        fields={f: np.concatenate([np.empty(0, np.float32), *(c[f] for c in columns)]) for f in known},
    )
