"""Dates to train, valid and test."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raybench.drafting.segments import FEWEST, SHARES, split
from raybench.errors import DataError


def days(first: str, count: int) -> np.ndarray:
    return pd.bdate_range(first, periods=count).to_numpy().astype("datetime64[D]")


def test_borders_are_ends_of_years_where_these_are_near() -> None:
    found = split(days("2007-01-04", 3500), where="bars")
    assert found["train"] == (dt.date(2007, 1, 4), dt.date(2014, 12, 31))
    assert found["valid"] == (dt.date(2015, 1, 1), dt.date(2017, 12, 29))
    assert found["test"][0] == dt.date(2018, 1, 1)


def test_few_dates_are_cut_where_they_are() -> None:
    every = days("2020-03-02", 100)
    found = split(every, where="bars")
    assert found == {
        "train": (every[0].item(), every[59].item()),
        "valid": (every[60].item(), every[79].item()),
        "test": (every[80].item(), every[99].item()),
    }


@given(st.dates(dt.date(1990, 1, 1), dt.date(2030, 1, 1)), st.integers(FEWEST, 6000))
def test_segments_are_all_of_the_dates_one_after_another(first: dt.date, count: int) -> None:
    every = days(str(first), count)
    found = split(every, where="bars")
    edges = [np.searchsorted(every, np.datetime64(day)) for span in found.values() for day in span]
    assert edges[0] == 0
    assert edges[-1] == count - 1
    assert edges[2] == edges[1] + 1
    assert edges[4] == edges[3] + 1
    lengths = [edges[1] - edges[0] + 1, edges[3] - edges[2] + 1, edges[5] - edges[4] + 1]
    assert sum(lengths) == count
    assert min(lengths) >= 0.03 * count
    assert abs(lengths[0] / count - SHARES[0]) < 0.1


def test_too_few() -> None:
    with pytest.raises(DataError, match=rf"bars: 29 dates .* want {FEWEST}"):
        split(days("2020-03-02", 29), where="bars")
