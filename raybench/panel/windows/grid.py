"""The index of windows over rows that may be missing on some dates: integers only, computed once
per frame.

The time axis is the dates that occur among the rows that take part. Each instrument has one slot
per date of that axis from its first to its last row. A window ending on slot s holds, for each of
the W slots up to s, the last row at or before that slot, and where that lies before the window's
start, the first row inside the window: forward then backward fill within the window, never across
it (Qlib's "ffill+bfill").

Rows are sorted by (instrument, date), so both fills are one maximum: ``row[slot] =
max(last_P[slot], first_R[row])``, and slots that reach into the instrument before need no care
because its rows are smaller.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

Int32 = npt.NDArray[np.int32]
Places = npt.NDArray[np.signedinteger[Any]]
"""Rows or slots: int32, which is half the memory, or int64 where there are more than that can number."""
ROWS_AT_ONCE = 100_000
LARGEST = np.iinfo(np.int32).max


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowGrid:
    """Index arrays of `RowWindows`.

    slot_R: slot of each row, -1 for rows that take no part. first_R: first row inside the window
    that ends there. regular_R: whether that window is simply the W rows up to it. last_P: last row
    at or before each slot, behind ``step_len - 1`` leading slots that belong to nobody.
    """

    slot_R: Places
    first_R: Places
    regular_R: npt.NDArray[np.bool_]
    last_P: Places


def window_grid(
    instrument_R: Int32,
    date_R: Int32,
    step_len: int,
    *,
    keep_R: npt.NDArray[np.bool_] | None = None,
    floor_R: Int32 | None = None,
    axis: Int32 | None = None,
) -> WindowGrid:
    """Index rows sorted by (instrument, date); codes as in `Frame`.

    ``keep_R`` leaves rows out (they also give no slots of their own to the time axis). ``floor_R``
    is, per row, the earliest date code its window may reach back to. ``axis`` gives the time axis,
    sorted date codes, where these rows are only some of those that make it.

    One instrument on the dates 0, 1 and 3 of an axis that another one fills; windows of three dates:

    >>> instrument_R, date_R = np.array([0, 0, 0, 1, 1], np.int32), np.array([0, 1, 3, 2, 3], np.int32)
    >>> grid = window_grid(instrument_R, date_R, step_len=3)
    >>> slot_R, steps = grid.slot_R.tolist(), range(-2, 1)
    >>> [[max(grid.last_P[slot_R[row] + k], grid.first_R[row]).item() for k in steps] for row in range(5)]
    [[0, 0, 0], [0, 0, 1], [1, 1, 2], [3, 3, 3], [3, 3, 4]]
    """
    rows = len(instrument_R)
    kept_K = np.arange(rows) if keep_R is None else np.flatnonzero(keep_R)
    axis = np.unique(date_R[kept_K]) if axis is None else axis
    most = max(rows, step_len - 1 + _slots(instrument_R[kept_K], date_R[kept_K], axis))
    number = np.int32 if most <= LARGEST else np.int64
    grid = WindowGrid(
        slot_R=np.full(rows, -1, number),
        first_R=np.zeros(rows, number),
        regular_R=np.zeros(rows, np.bool_),
        last_P=np.full(step_len - 1, -1, number),
    )
    if not len(kept_K):
        return grid
    parts, slots = [grid.last_P], step_len - 1
    for part in _stretches(instrument_R[kept_K]):
        row_K = kept_K[part]
        step_K = np.searchsorted(axis, date_R[row_K])
        floor_K = None if floor_R is None else np.searchsorted(axis, floor_R[row_K])
        parts.append(_index(grid, row_K, instrument_R[row_K], step_K, floor_K, slots, step_len))
        slots += len(parts[-1])
    return replace(grid, last_P=np.concatenate(parts))


def _slots(instrument_K: Int32, date_K: Int32, axis: Int32) -> int:
    """How many dates there are from the first row of each instrument to its last."""
    if not len(instrument_K):
        return 0
    begins = np.flatnonzero(np.r_[True, instrument_K[1:] != instrument_K[:-1]])
    first, last = (np.searchsorted(axis, date_K[at]) for at in (begins, np.r_[begins[1:], len(date_K)] - 1))
    return int((last - first + 1).sum())


def _stretches(instrument_K: Int32) -> Iterator[slice]:
    """All rows, some whole instruments at a time: what it takes to index them is many times a row's index."""
    begins = np.flatnonzero(np.r_[True, instrument_K[1:] != instrument_K[:-1]]).tolist()
    first = 0
    for begin in [*begins[1:], len(instrument_K)]:
        if begin - first >= ROWS_AT_ONCE or begin == len(instrument_K):
            yield slice(first, begin)
            first = begin


def _index(
    grid: WindowGrid,
    row_K: npt.NDArray[np.int64],
    instrument_K: Int32,
    step_K: npt.NDArray[np.int64],
    floor_step_K: npt.NDArray[np.int64] | None,
    begin: int,
    step_len: int,
) -> Places:
    """Fill in rows of whole instruments, whose slots start at ``begin``; return the last row of each of those slots."""
    base_K, first_step_K, slots = _bases(instrument_K, step_K)
    slot_K = base_K + step_K - first_step_K
    last_P, next_P = _filled(slot_K, row_K, slots, grid.last_P.dtype)
    start_K = np.maximum(slot_K - (step_len - 1), base_K)
    if floor_step_K is not None:
        start_K = np.maximum(start_K, np.minimum(slot_K, base_K + floor_step_K - first_step_K))
    first_K = next_P[start_K]
    place_K = np.searchsorted(row_K, first_K)
    whole_K = (row_K - first_K == step_len - 1) & (np.arange(len(row_K)) - place_K == step_len - 1)
    grid.slot_R[row_K] = begin + slot_K
    grid.first_R[row_K] = first_K
    grid.regular_R[row_K] = whole_K
    return last_P


def _bases(
    instrument_K: Int32, step_K: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], int]:
    """For each row its instrument's first slot and first step, and the number of slots of all."""
    begins = np.flatnonzero(np.r_[True, instrument_K[1:] != instrument_K[:-1]])
    counts = np.diff(np.r_[begins, len(instrument_K)])
    first = step_K[begins]
    spans = step_K[begins + counts - 1] - first + 1
    base = np.cumsum(spans) - spans
    return np.repeat(base, counts), np.repeat(first, counts), int(spans.sum())


def _filled(
    slot_K: npt.NDArray[np.int64], kept_K: npt.NDArray[np.int64], slots: int, number: np.dtype[Any]
) -> tuple[Places, npt.NDArray[np.int64]]:
    """Last row at or before, and first row at or after, each slot (over all instruments: rows only grow)."""
    last_P = np.full(slots, -1, number)
    last_P[slot_K] = kept_K
    np.maximum.accumulate(last_P, out=last_P)
    next_P = np.full(slots, np.iinfo(np.int64).max, np.int64)
    next_P[slot_K] = kept_K
    next_P = np.minimum.accumulate(next_P[::-1])[::-1]
    return last_P, next_P
