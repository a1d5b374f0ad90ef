"""The frame: which rows there are, of whom, when, with what label. Features lie beside it.

R rows sorted by (instrument, datetime), N instruments that have a row, T dates that occur. Rows are
the bars of members of the universe within a range of dates, suspended days included. NaN: a row
without a label has NaN. Features come as `FeatureColumns`: a table, or lags that are never stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from raybench.data.processors.by_date import ByDate, Float32
from raybench.data.processors.column import DateRange, Rows

Moments = npt.NDArray[np.datetime64]
Int32 = npt.NDArray[np.int32]


class Run(Protocol):
    """``map`` or anything like it: results in the order of the items. The cluster's spreads the calls."""

    def __call__(self, function: Callable[[Any], Any], items: Iterable[Any], /) -> Iterator[Any]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Row keys as codes, and the label as it was computed.

    instruments: N names, sorted. dates: datetime64[us] [T], sorted. instrument_R, date_R: codes.
    label_R: the raw label. weight_R: a column to weigh samples by, or None.
    """

    instruments: tuple[str, ...]
    dates: Moments
    instrument_R: Int32
    date_R: Int32
    label_R: Float32
    weight_R: Float32 | None = None

    def __len__(self) -> int:
        return len(self.date_R)

    def rows(self, fit_range: DateRange) -> Rows:
        """What processors need to know of the rows."""
        by_date = ByDate(date_R=self.date_R, num_dates=len(self.dates))
        return Rows(dates=self.dates, by_date=by_date, fit_range=fit_range)


@dataclass(frozen=True, slots=True, kw_only=True)
class FramePart:
    """The rows of some whole instruments, as one task reads them.

    values: features [R, F] of the rows, or for lags the raw fields [P, 6] with ``row_R`` the place of
    each row among them.
    """

    instruments: tuple[str, ...]
    code_R: Int32
    datetime_R: Moments
    label_R: Float32
    values: Float32
    weight_R: Float32 | None = None
    row_R: npt.NDArray[np.int64] | None = None


def join_parts(parts: Iterable[FramePart]) -> tuple[Frame, Float32, npt.NDArray[np.int64] | None]:
    """Put parts together: the frame, the values of all, and the place of each row among those of lags.

    The parts' values are let go one after the other as they are copied, so that no second copy of the
    whole is ever held.
    """
    ordered = sorted((part for part in parts if len(part.code_R)), key=lambda part: part.instruments[0])
    names = sorted({part.instruments[code] for part in ordered for code in np.unique(part.code_R)})
    dates = np.unique(_joined([part.datetime_R for part in ordered], "datetime64[us]"))
    code_of = {name: code for code, name in enumerate(names)}
    instrument_R = _joined([_recoded(part, code_of) for part in ordered], np.int32)
    assert bool(np.all(instrument_R[1:] >= instrument_R[:-1])), "parts hold whole instruments, none twice"
    weights = [part.weight_R for part in ordered if part.weight_R is not None]
    frame = Frame(
        instruments=tuple(names),
        dates=dates,
        instrument_R=instrument_R,
        date_R=_joined([np.searchsorted(dates, part.datetime_R) for part in ordered], np.int32),
        label_R=_joined([part.label_R for part in ordered], np.float32),
        weight_R=_joined(weights, np.float32) if weights else None,
    )
    offsets = np.cumsum([0, *(len(part.values) for part in ordered)])
    places = [part.row_R + off for part, off in zip(ordered, offsets, strict=False) if part.row_R is not None]
    return frame, _moved([part.values for part in ordered], ordered), _joined(places, np.int64) if places else None


def _recoded(part: FramePart, code_of: dict[str, int]) -> Int32:
    codes = np.array([code_of.get(name, -1) for name in part.instruments], np.int32)
    recoded: Int32 = codes[part.code_R]
    return recoded


def _joined(arrays: Sequence[npt.NDArray[Any]], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    return np.concatenate([np.empty(0, dtype), *arrays]).astype(dtype, copy=False)


def _moved(values: list[Float32], owners: list[FramePart]) -> Float32:
    """Copy arrays behind each other into one, forgetting each as soon as it is copied."""
    owners.clear()
    width = values[0].shape[1] if values else 0
    whole = np.empty((sum(map(len, values)), width), np.float32)
    start = 0
    values.reverse()
    while values:
        part = values.pop()
        whole[start : start + len(part)] = part
        start += len(part)
    return whole
