"""Labels against what Qlib computed, and label expressions against pandas."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from raybench.config.data.label import DEFAULT_LABEL, parse_label
from raybench.errors import DataError
from raybench.feature_sets import labels
from raybench.market.bars import BarBlock
from tests.market.qlib_bins import read_bins, rows_of


@pytest.fixture
def block() -> BarBlock:
    rng = np.random.default_rng(2)
    day = pd.bdate_range("2021-01-01", periods=40)
    values = rng.lognormal(2, 0.1, (40, 2)).astype(np.float32)
    values[7] = np.nan
    frame = pd.DataFrame(values, columns=["close", "volume"]).assign(datetime=day)
    return BarBlock.from_frame(pd.concat([frame.assign(instrument=name) for name in "AB"]))


@pytest.mark.shared
def test_default_label_equals_qlib(shared: Path) -> None:
    want = pd.read_parquet(shared / "oracle/features/alpha158_raw.parquet")
    bars = read_bins(shared / "cn_data", sorted(want["instrument"].unique()))
    got = labels.compute(bars, parse_label(DEFAULT_LABEL))[rows_of(bars, want)]
    np.testing.assert_array_equal(got, want["LABEL0"].to_numpy())


EXPRESSIONS = {
    "Ref($close, -2) / Ref($close, -1) - 1": lambda c, v: c.shift(-2) / c.shift(-1) - 1,
    "-Log($close) + Abs($volume - 8) * 2": lambda c, v: -np.log(c) + (v - 8).abs() * 2,
    "Mean($close, 5) / $close": lambda c, v: c.rolling(5, min_periods=1).mean() / c,
    "Sum($close, 3) - Std($volume, 4)": lambda c, v: (
        c.rolling(3, min_periods=1).sum() - v.rolling(4, min_periods=1).std()
    ),
    "Ref(Max($close, 3), -3) - Min(Ref($close, 1), 2)": lambda c, v: (
        c.rolling(3, min_periods=1).max().shift(-3) - c.shift(1).rolling(2, min_periods=1).min()
    ),
    "Ref(2, 1) * $close": lambda c, v: c.where(np.arange(len(c)) > 0) * 2,
}


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_expression_equals_pandas(text: str, block: BarBlock) -> None:
    got = labels.compute(block, parse_label(text))
    one = block.slice(1).fields
    want = EXPRESSIONS[text](pd.Series(one["close"]), pd.Series(one["volume"]))
    np.testing.assert_allclose(got[40:], want.to_numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(got[:40], got[40:])  # the same bars twice: nothing crosses instruments


def test_a_field_that_is_not_there_is_named(block: BarBlock) -> None:
    with pytest.raises(DataError, match=r"\$open, but the bars' fields are close, volume"):
        labels.compute(block, parse_label("$open / $close"))
