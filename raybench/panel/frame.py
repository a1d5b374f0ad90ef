"""The frame: which rows there are, of whom, when, with what label. Features lie beside it.

R rows sorted by (instrument, datetime), N instruments that have a row, T dates that occur. Rows are
the bars of members of the universe within a range of dates, suspended days included. NaN: a row
without a label has NaN. Features come as `FeatureColumns`: a table, or lags that are never stored.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from raybench.panel.filled import Filled, below
from raybench.panel.row_hashes import RowHashes, joined_hashes
from raybench.processors.by_date import ByDate, Float32
from raybench.processors.column import DateRange, Rows

Moments = npt.NDArray[np.datetime64]
Int32 = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Row keys as codes, and the label as it was computed.

    instruments: N names, sorted. dates: datetime64[us] [T], sorted. instrument_R, date_R: codes.
    label_R: the raw label. weight_R: a column to weigh samples by, or None. filled: the numbers of each day, or None.
    hashes: of the rows that each day is made from; traded: how many members have a bar on each day that was read; None
    where nobody asked.
    """

    instruments: tuple[str, ...]
    dates: Moments
    instrument_R: Int32
    date_R: Int32
    label_R: Float32
    weight_R: Float32 | None = None
    filled: Filled | None = None
    hashes: RowHashes | None = None
    traded: Filled | None = None

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
    filled: Filled | None = None
    hashes: RowHashes | None = None
    traded: Filled | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Keys:
    """What is kept of a part until all are there, without anything of its own memory.

    ``dates`` [T] are those of its rows, ``date_R`` codes among them.
    """

    part: FramePart
    dates: Moments
    date_R: Int32

    @classmethod
    def of(cls, part: FramePart) -> _Keys:
        dates, date_R = np.unique(part.datetime_R, return_inverse=True)
        slim = replace(
            part,
            code_R=part.code_R.copy(),
            datetime_R=np.empty(0, "datetime64[us]"),
            label_R=part.label_R.copy(),
            values=np.empty((0, 0), np.float32),
            weight_R=None if part.weight_R is None else part.weight_R.copy(),
            row_R=None if part.row_R is None else part.row_R.copy(),
            filled=copy.deepcopy(part.filled),
        )
        return cls(part=slim, dates=dates, date_R=date_R.astype(np.int32))

    def recoded(self, code_of: dict[str, int], dates: Moments) -> tuple[Int32, Int32]:
        """Codes of instruments and of dates among those of all parts."""
        codes = np.array([code_of.get(name, -1) for name in self.part.instruments], np.int32)
        places = np.searchsorted(dates, self.dates).astype(np.int32)
        return codes[self.part.code_R], places[self.date_R]


def join_parts(parts: Iterable[FramePart]) -> tuple[Frame, Float32, npt.NDArray[np.int64] | None]:
    """Put parts together: the frame, the values of all, and the place of each row among those of lags.

    A part is copied as it comes and then let go: what is held is the whole so far and one part. Parts that
    do not come in the order of their instruments are put in order afterwards, which takes the whole a second time.
    """
    growing, keys, spans = _Growing(), list[_Keys](), list[tuple[int, int]]()
    hashes, traded = list[RowHashes](), list[Filled]()
    for part in parts:
        hashes += [] if part.hashes is None else [part.hashes]  # these are of rows before those of the frame too
        traded += [] if part.traded is None else [part.traded]
        if len(part.code_R):
            spans.append((len(growing), len(growing) + len(part.values)))
            growing.add(part.values)
            keys.append(_Keys.of(part))
        del part
    values = growing.whole()
    order = sorted(range(len(keys)), key=lambda place: keys[place].part.instruments[0])
    if order != list(range(len(keys))):
        values = np.concatenate([values[slice(*spans[place])] for place in order])
    lengths = [spans[place][1] - spans[place][0] for place in order]
    offsets = np.cumsum([0, *lengths]).tolist()
    frame = _frame([keys[place] for place in order], hashes, traded)
    return frame, values, _places([keys[place].part for place in order], offsets)


def _frame(ordered: Sequence[_Keys], hashes: Sequence[RowHashes], traded: Sequence[Filled]) -> Frame:
    """The rows of all parts, in the order of their instruments."""
    parts = [keys.part for keys in ordered]
    names = sorted({part.instruments[code] for part in parts for code in np.unique(part.code_R)})
    dates = np.unique(_joined([keys.dates for keys in ordered], "datetime64[us]"))
    code_of = {name: code for code, name in enumerate(names)}
    codes = [keys.recoded(code_of, dates) for keys in ordered]
    instrument_R = _joined([instrument_R for instrument_R, _ in codes], np.int32)
    assert bool(np.all(instrument_R[1:] >= instrument_R[:-1])), "parts hold whole instruments, none twice"
    weights = [part.weight_R for part in parts if part.weight_R is not None]
    return Frame(
        instruments=tuple(names),
        dates=dates,
        instrument_R=instrument_R,
        date_R=_joined([date_R for _, date_R in codes], np.int32),
        label_R=_joined([part.label_R for part in parts], np.float32),
        weight_R=_joined(weights, np.float32) if weights else None,
        filled=below([part.filled for part in parts if part.filled is not None]),
        hashes=joined_hashes(hashes),
        traded=below(traded),
    )


def _places(parts: Sequence[FramePart], offsets: Sequence[int]) -> npt.NDArray[np.int64] | None:
    """The place of each row among the values of lags, which begin at ``offsets``."""
    places = [part.row_R + offset for part, offset in zip(parts, offsets, strict=False) if part.row_R is not None]
    return _joined(places, np.int64) if places else None


class _Growing:
    """An array [R, F] that parts are copied into, one behind the other; it grows where it lies if it can."""

    def __init__(self) -> None:
        self._whole: Float32 | None = None

    def __len__(self) -> int:
        return 0 if self._whole is None else len(self._whole)

    def add(self, values: Float32) -> None:
        if self._whole is None:
            self._whole = np.array(values, np.float32)
            return
        start = len(self._whole)
        # the operating system moves pages of a large array to another address, which copies nothing
        self._whole.resize((start + len(values), values.shape[1]), refcheck=False)
        self._whole[start:] = values

    def whole(self) -> Float32:
        return np.empty((0, 0), np.float32) if self._whole is None else self._whole


def _joined(arrays: Sequence[npt.NDArray[Any]], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    return np.concatenate([np.empty(0, dtype), *arrays]).astype(dtype, copy=False)
