"""Alpha158 against what Qlib computed, and its promises: no look-ahead, no order, no trace of bad numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from raybench.errors import DataError
from raybench.feature_sets import alpha158
from tests.market.qlib_bins import read_bins, rows_of
from tests.market.small_market import market, with_fields


@pytest.mark.shared
def test_equals_qlib(shared: Path) -> None:
    """Every cell of the 158 columns is within tolerance, every NaN in its place: there is no exception."""
    want = pd.read_parquet(shared / "oracle/features/alpha158_raw.parquet")
    block = read_bins(shared / "cn_data", sorted(want["instrument"].unique()))
    got = alpha158.compute(block)[rows_of(block, want)]
    expected = want[list(alpha158.NAMES)].to_numpy()
    np.testing.assert_array_equal(np.isnan(got), np.isnan(expected))
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
    close = np.isclose(got, expected, rtol=1e-6, atol=1e-7, equal_nan=True)
    assert close.mean() > 0.9999


@pytest.mark.parametrize("damage", [np.nan, np.inf, -np.inf, 0.0, 3e38])
def test_nothing_at_or_before_a_date_depends_on_what_follows(damage: float) -> None:
    block = market()
    cut = block.datetime_R[250]
    later_R = block.datetime_R > cut
    changed = with_fields(block, {f: np.where(later_R, np.float32(damage), v) for f, v in block.fields.items()})
    before, after = alpha158.compute(block), alpha158.compute(changed)
    assert before[~later_R].tobytes() == after[~later_R].tobytes()
    assert before[later_R].tobytes() != after[later_R].tobytes()


def test_a_bad_number_leaves_no_trace_after_the_widest_window() -> None:
    block = market(1)
    fields = {f: v.copy() for f, v in block.fields.items()}
    for value in fields.values():
        value[200:203] = (np.inf, 3e38, -np.inf)
    damaged = alpha158.compute(with_fields(block, fields))
    assert damaged[203 + 60 :].tobytes() == alpha158.compute(block)[203 + 60 :].tobytes()


def test_an_instrument_does_not_depend_on_its_neighbours_or_on_threads() -> None:
    block = market()
    whole = alpha158.compute(block)
    assert whole.tobytes() == alpha158.compute(block, threads=2).tobytes()
    alone = np.concatenate([alpha158.compute(block.slice(i)) for i in range(3)])
    assert whole.tobytes() == alone.tobytes()


@pytest.mark.parametrize("columns", [["KLEN"], ["WVMA60", "STD5", "VWAP0"], ["RSQR60", "RESI5", "RSQR5", "CORD20"]])
def test_some_columns_come_in_the_order_of_the_table(columns: list[str]) -> None:
    block = market()
    kept = [name for name in alpha158.NAMES if name in columns]
    want = alpha158.compute(block)[:, [alpha158.NAMES.index(name) for name in kept]]
    np.testing.assert_array_equal(alpha158.compute(block, columns), want)


def test_vwap_is_used_where_there_is_one() -> None:
    block = market(1)
    with_vwap = with_fields(block, {**block.fields, "vwap": block.fields["close"] * 2})
    column = alpha158.compute(with_vwap, ["VWAP0"])[:, 0]
    assert set(column[~np.isnan(column)]) == {2.0}
    assert np.isnan(alpha158.compute(block, ["VWAP0"])).all()


def test_what_is_not_there_is_named() -> None:
    block = market(1)
    with pytest.raises(DataError, match="no column 'KLENGTH'"):
        alpha158.compute(block, ["KLENGTH"])
    no_volume = with_fields(block, {f: v for f, v in block.fields.items() if f != "volume"})
    with pytest.raises(DataError, match="lack volume"):
        alpha158.compute(no_volume)
