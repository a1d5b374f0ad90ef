"""What is said of each column's reach is what the column does: fewer rows change it, more do not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from raybench.config.data.alpha_names import ALPHA158_NAMES
from raybench.config.data.alpha_reach import fields_of, missed_of, rows_of, rows_of_window
from raybench.config.data.spec import FeatureSet
from raybench.feature_sets import alpha158
from raybench.market.bars import BarBlock

ALPHA158 = FeatureSet(type="alpha158")


def block(rows: int, total: int = 130) -> BarBlock:
    """The last ``rows`` of a series that moves at random."""
    rng = np.random.default_rng(0)
    close = np.exp(rng.normal(0, 0.03, total).cumsum())
    frame = pd.DataFrame({"instrument": "A", "datetime": pd.bdate_range("2020-01-01", periods=total), "close": close})
    frame["open"] = close * np.exp(rng.normal(0, 0.01, total))
    frame["high"] = frame[["open", "close"]].max(axis=1) * 1.01
    frame["low"], frame["vwap"] = frame[["open", "close"]].min(axis=1) * 0.99, frame["close"] * 1.001
    return BarBlock.from_frame(frame.assign(volume=rng.lognormal(10, 1, total)).tail(rows))


@pytest.mark.parametrize("name", ALPHA158_NAMES)
def test_a_column_reads_as_many_rows_as_are_said(name: str) -> None:
    rows = rows_of(ALPHA158, [name])
    whole = alpha158.compute(block(130), [name])[-1, 0]
    assert alpha158.compute(block(rows), [name])[-1, 0].tobytes() == whole.tobytes()


@pytest.mark.parametrize("name", ["ROC60", "CORD10", "MA5", "WVMA20", "RSQR30", "VSUMP60"])
def test_one_row_less_is_another_number(name: str) -> None:
    rows = rows_of(ALPHA158, [name])
    assert alpha158.compute(block(rows - 1), [name])[-1, 0] != alpha158.compute(block(130), [name])[-1, 0]


def test_a_window_reaches_over_its_rows_and_their_features() -> None:
    assert rows_of_window(ALPHA158, ["KMID", "MA5"], 5) == 9
    assert rows_of_window(ALPHA158, ["ROC60"], 20) == 80
    assert rows_of_window(FeatureSet(type="alpha360"), [], 60) == 60
    assert rows_of_window(FeatureSet(type="table"), ["mine"], 20) == 20


def test_vwap_is_read_where_a_column_of_it_is() -> None:
    assert "vwap" in fields_of(ALPHA158, ["KMID", "VWAP0"])
    assert "vwap" not in fields_of(ALPHA158, ["KMID"])
    assert "vwap" in fields_of(FeatureSet(type="alpha360"), [])
    assert fields_of(FeatureSet(type="table"), ["x"]) == ()


FIELDS = ("open", "high", "low", "close", "volume", "vwap")


@pytest.mark.parametrize("name", ALPHA158_NAMES)
def test_a_column_misses_the_fields_that_are_said_and_no_others(name: str) -> None:
    whole = block(130)
    rng, before, others = np.random.default_rng(0), alpha158.compute(whole, [name])[-1, 0], set()
    for field in FIELDS * 5:  # a count is not changed by every change
        shuffled = replace(whole, fields={**whole.fields, field: rng.permutation(whole.fields[field])})
        if alpha158.compute(shuffled, [name])[-1, 0] != before:
            others.add(field)
    said = set(missed_of(ALPHA158, [name]))
    assert others <= said
    assert name.startswith("K") or others == said  # all of these are said to read all prices


def test_the_other_sets_miss_all_they_read() -> None:
    assert set(missed_of(FeatureSet(type="alpha360"), [])) == set(FIELDS)
    assert missed_of(FeatureSet(type="table"), ["a"]) == ()
