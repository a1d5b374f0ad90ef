"""Alpha360 against what Qlib computed, and against its definition."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from raybench.errors import DataError
from raybench.feature_sets import alpha360
from raybench.market.bars import BarBlock
from tests.market.qlib_bins import read_bins, rows_of


def block() -> BarBlock:
    rng = np.random.default_rng(1)
    day = pd.bdate_range("2021-01-01", periods=90)
    frames = []
    for name, first in (("A", 0), ("B", 20)):
        values = rng.lognormal(2, 0.1, (len(day) - first, 5)).astype(np.float32)
        values[30] = np.nan
        values[40, 4] = 0
        frame = pd.DataFrame(values, columns=["open", "high", "low", "close", "volume"])
        frames.append(frame.assign(instrument=name, datetime=day[first:]))
    return BarBlock.from_frame(pd.concat(frames))


@pytest.mark.shared
def test_equals_qlib(shared: Path) -> None:
    want = pd.read_parquet(shared / "oracle/features/alpha360_raw.parquet")
    bars = read_bins(shared / "cn_data", sorted(want["instrument"].unique()))
    got = alpha360.compute(bars)[rows_of(bars, want)]
    expected = want[list(alpha360.NAMES)].to_numpy()
    np.testing.assert_array_equal(np.isnan(got), np.isnan(expected))
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", ["CLOSE59", "OPEN7", "HIGH0", "LOW1", "VOLUME30", "VOLUME0"])
def test_each_column_is_a_lag_over_today(name: str) -> None:
    bars = block()
    field, lag = name.rstrip("0123456789").lower(), int(name.lstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
    got = alpha360.compute(bars)[:, alpha360.NAMES.index(name)]
    frame = bars.to_frame()
    today = frame["volume"] + np.float32(1e-12) if field == "volume" else frame["close"]
    want = frame.groupby("instrument")[field].shift(lag) / today
    np.testing.assert_allclose(got, want, rtol=1e-6)


def test_raw_is_six_columns_and_vwap_may_be_absent() -> None:
    bars = block()
    raw = alpha360.raw(bars)
    assert raw.shape == (bars.rows, 6)
    np.testing.assert_array_equal(raw[:, 0], bars.fields["close"])
    assert np.isnan(raw[:, 4]).all()
    assert np.isnan(alpha360.compute(bars)[:, 240:300]).all()


def test_nothing_at_or_before_a_date_depends_on_what_follows() -> None:
    bars = block()
    later_R = bars.datetime_R > bars.datetime_R[60]
    fields = {f: np.where(later_R, np.float32(np.inf), v) for f, v in bars.fields.items()}
    changed = BarBlock(instruments=bars.instruments, start_N1=bars.start_N1, datetime_R=bars.datetime_R, fields=fields)
    assert alpha360.compute(bars)[~later_R].tobytes() == alpha360.compute(changed)[~later_R].tobytes()


def test_a_missing_field_is_named() -> None:
    bars = block()
    fields = {f: v for f, v in bars.fields.items() if f != "high"}
    with pytest.raises(DataError, match="lack high"):
        alpha360.raw(
            BarBlock(
                instruments=bars.instruments,
                start_N1=bars.start_N1,
                datetime_R=bars.datetime_R,
                fields=fields,
            )
        )
