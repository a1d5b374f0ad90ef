"""Windows of any pattern of rows, gaps and floors against brute force, and lags against their formula."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from raybench.panel.windows import LagWindows, RowWindows, from_arrays, window_grid
from raybench.panel.windows import grid as grids
from raybench.panel.windows.lag import VOLUME_EPS

DATES = 12


def literal(rows: dict[int, int], axis: list[int], date: int, step_len: int, floor: int) -> list[int]:
    """Rows of the window that ends on ``date``: forward, then backward fill over the dates of the axis."""
    end = axis.index(date)
    slots = [axis[i] if i >= 0 else -1 for i in range(end - step_len + 1, end + 1)]
    found = [rows.get(slot) if slot >= floor else None for slot in slots]
    found[-1] = rows[date]
    for i in range(1, step_len):
        found[i] = found[i - 1] if found[i] is None else found[i]
    for i in range(step_len - 2, -1, -1):
        found[i] = found[i + 1] if found[i] is None else found[i]
    return [row for row in found if row is not None]


@st.composite
def markets(draw: st.DrawFn) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.bool_], NDArray[np.int32]]:
    """Rows (instrument, date) of up to 4 instruments, which of them take part, and how far back each may reach."""
    shape = (draw(st.integers(1, 4)), DATES)
    instrument_R, date_R = np.nonzero(draw(arrays(np.bool_, shape)))
    keep_R = draw(arrays(np.bool_, len(date_R), fill=st.just(True)))
    floor_R = draw(arrays(np.int32, len(date_R), elements=st.integers(0, DATES)))
    return instrument_R.astype(np.int32), date_R.astype(np.int32), keep_R, floor_R


@given(
    market=markets(),
    step_len=st.integers(1, DATES + 2),
    more=st.sets(st.integers(0, DATES)),
    given_axis=st.booleans(),
    at_once=st.sampled_from([1, DATES + 1, 100_000]),
    largest=st.sampled_from([0, np.iinfo(np.int32).max]),
)
def test_windows_are_what_brute_force_says(
    market, step_len: int, more: set[int], given_axis: bool, at_once: int, largest: int
) -> None:
    instrument_R, date_R, keep_R, floor_R = market
    dates = set(date_R[keep_R].tolist()) | (more or set())  # where others have rows on dates that these have not
    axis = None if more is None else np.array(sorted(dates), np.int32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grids, "ROWS_AT_ONCE", at_once)
        patch.setattr(grids, "LARGEST", largest)  # of rows that an int32 can number
        grid = window_grid(instrument_R, date_R, step_len, keep_R=keep_R, floor_R=floor_R, axis=axis)
    source = RowWindows.build(np.arange(len(date_R), dtype=np.float32)[:, None], grid, step_len)
    kept = np.flatnonzero(keep_R)
    got = source.gather(torch.from_numpy(kept)).numpy()[..., 0]
    assert got.shape == (len(kept), step_len)
    for x_W, row in zip(got, kept, strict=True):
        own = keep_R & (instrument_R == instrument_R[row])
        rows = dict(zip(date_R[own].tolist(), np.flatnonzero(own).tolist(), strict=True))
        want = literal(rows, sorted(dates), int(date_R[row]), step_len, int(floor_R[row]))
        np.testing.assert_array_equal(x_W, want)
        assert x_W[-1] == row
    np.testing.assert_array_equal(source._gather_rows(torch.from_numpy(kept)).numpy()[..., 0], got)
    assert (grid.slot_R >= 0).tolist() == keep_R.tolist()


PRICES = st.one_of(st.just(np.nan), st.floats(np.float32(0.01), 1000, width=32))


@given(raw=arrays(np.float32, (12, 6), elements=PRICES, fill=st.nothing()), step_len=st.integers(1, 12))
def test_lags_are_ratios_to_the_newest_close_and_volume(raw: NDArray[np.float32], step_len: int) -> None:
    source = LagWindows(raw_P6=torch.from_numpy(raw), date_P=None, step_len=step_len)
    again = from_arrays(source.spec(), source.arrays())
    rows = torch.arange(step_len - 1, 12)
    for x_WF, at in zip(again.gather(rows).numpy(), rows.tolist(), strict=True):
        today = raw[at]
        scale = np.array([today[0]] * 5 + [today[5] + np.float32(VOLUME_EPS)], np.float32)
        np.testing.assert_array_equal(x_WF, raw[at - step_len + 1 : at + 1] / scale)
