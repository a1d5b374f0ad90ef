"""Windows from rows: against a literal reading of "ffill+bfill within the window"."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from raybench.config.data.processors import ProcessorSpec
from raybench.panel.windows import FlatWindows, LagWindows, RowWindows, from_arrays, window_grid
from raybench.panel.windows.lag import WindowStep
from raybench.processors import make_processor
from raybench.processors.base import Elementwise


def literal_window(rows_of_date: dict[int, int], axis: list[int], date: int, step_len: int, floor: int) -> list[int]:
    """Rows of the window that ends on ``date``: forward, then backward fill over the dates of the axis."""
    end = axis.index(date)
    slots = [axis[i] if i >= 0 else None for i in range(end - step_len + 1, end + 1)]
    rows = [rows_of_date.get(slot) if slot is not None and slot >= floor else None for slot in slots]
    for i in range(1, step_len):
        rows[i] = rows[i - 1] if rows[i] is None else rows[i]
    for i in range(step_len - 2, -1, -1):
        rows[i] = rows[i + 1] if rows[i] is None else rows[i]
    return rows


@pytest.fixture
def market() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows (instrument, date) with gaps, some left out, and two dates on which nobody takes part."""
    rng = np.random.default_rng(3)
    instrument_R, date_R = np.nonzero(rng.random((5, 40)) < np.array([[0.95], [0.5], [0.1], [1.0], [0.8]]))
    keep_R = (rng.random(len(date_R)) < 0.9) & (date_R != 17) & (date_R != 18)
    return instrument_R.astype(np.int32), date_R.astype(np.int32), keep_R


@pytest.mark.parametrize("step_len", [1, 2, 7, 60])
@pytest.mark.parametrize("floor", [0, 17, 25])
def test_windows_are_filled_forward_then_backward(market, step_len: int, floor: int) -> None:
    instrument_R, date_R, keep_R = market
    floor_R = np.where(date_R >= floor, floor, 0).astype(np.int32)
    grid = window_grid(instrument_R, date_R, step_len, keep_R=keep_R, floor_R=floor_R)
    feature_RF = np.stack([np.arange(len(date_R)), -np.arange(len(date_R))], axis=1).astype(np.float32)
    source = RowWindows.build(feature_RF, grid, step_len)
    rows = np.flatnonzero(keep_R)
    x_BWF = source.gather(torch.from_numpy(rows)).numpy()
    axis = sorted(set(date_R[keep_R].tolist()))
    for x_WF, row in zip(x_BWF, rows, strict=True):
        own = keep_R & (instrument_R == instrument_R[row])
        of_date = dict(zip(date_R[own].tolist(), np.flatnonzero(own).tolist(), strict=True))
        want = literal_window(of_date, axis, int(date_R[row]), step_len, int(floor_R[row]))
        np.testing.assert_array_equal(x_WF[:, 0], want)
        np.testing.assert_array_equal(x_WF[:, 1], -np.array(want))


def test_both_ways_to_gather_agree_and_arrays_may_be_read_only(market) -> None:
    instrument_R, date_R, keep_R = market
    feature_RF = np.random.default_rng(0).standard_normal((len(date_R), 3)).astype(np.float32)
    source = RowWindows.build(feature_RF, window_grid(instrument_R, date_R, 4, keep_R=keep_R), 4)
    arrays = source.arrays()
    for array in arrays.values():
        array.flags.writeable = False
    again = from_arrays(source.spec(), arrays)
    rows = torch.from_numpy(np.random.default_rng(1).permutation(np.flatnonzero(keep_R)))
    assert torch.equal(source._gather_rows(rows), again.gather(rows))
    assert again.gather(rows[:0]).shape == (0, 4, 3)
    assert again.nbytes == sum(array.nbytes for array in arrays.values())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_an_accelerator_gathers_the_same(market) -> None:
    instrument_R, date_R, keep_R = market
    rng = np.random.default_rng(2)
    feature_RF = rng.standard_normal((len(date_R), 3)).astype(np.float32)
    rows = torch.from_numpy(np.flatnonzero(keep_R))
    by_rows = RowWindows.build(feature_RF, window_grid(instrument_R, date_R, 4, keep_R=keep_R), 4)
    raw_P6 = torch.rand(50, 6)
    robust = make_processor(ProcessorSpec.model_validate("RobustZScoreNorm"))
    assert isinstance(robust, Elementwise)
    step = WindowStep(processor=robust, numbers=(torch.rand(5, 6), torch.rand(5, 6) + 0.1))
    lags = LagWindows(raw_P6=raw_P6, date_P=None, step_len=5, steps=(step,))
    flat = FlatWindows.build(rng.standard_normal((50, 12)).astype(np.float32), 4)
    for source, wanted in ((by_rows, rows), (lags, torch.arange(4, 50)), (flat, torch.arange(50))):
        got = source.to("cuda").gather(wanted.to("cuda")).cpu()
        torch.testing.assert_close(got, source.gather(wanted), rtol=1e-6, atol=1e-6)
