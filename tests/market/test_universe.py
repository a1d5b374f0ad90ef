"""Membership spans."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from raybench.errors import DataError
from raybench.market.universe import FOREVER, Universe, make_universe, universe_of_bars, universe_of_frame


def days(*texts: str) -> np.ndarray:
    return np.array(texts, dtype="datetime64[us]")


@pytest.fixture
def universe() -> Universe:
    """B twice, with a gap; A once and still."""
    return make_universe(
        "u",
        ["B", "A", "B"],
        days("2020-03-01", "2020-01-02", "2020-01-01"),
        np.array(["2020-03-31", "NaT", "2020-01-31"], dtype="datetime64[us]"),
        where="here",
    )


def test_spans_are_sorted_and_both_ends_belong(universe: Universe) -> None:
    assert universe.instrument_K == ("A", "B", "B")
    assert universe.instruments == ("A", "B")
    when = days("2019-12-31", "2020-01-01", "2020-01-31", "2020-02-01", "2020-03-01", "2020-03-31", "2020-04-01")
    assert universe.contains("B", when).tolist() == [False, True, True, False, True, True, False]
    assert universe.contains("A", days("2020-01-01", "2020-01-02", "2999-01-01")).tolist() == [False, True, True]
    assert not universe.contains("C", when).any()


def test_an_end_at_midnight_is_its_whole_day(universe: Universe) -> None:
    when = days("2020-01-31T15:00", "2020-01-31T23:59:59.999999", "2020-02-01T00:00")
    assert universe.contains("B", when).tolist() == [True, True, False]


def test_an_end_with_a_time_is_that_moment() -> None:
    one = make_universe("u", ["A"], days("2020-01-01"), days("2020-01-02T12:00"), where="here")
    assert one.contains("A", days("2020-01-02T12:00", "2020-01-02T12:01")).tolist() == [True, False]


@pytest.mark.parametrize("shuffled", [False, True])
def test_mask_is_contains_for_every_row(universe: Universe, shuffled: bool) -> None:
    rng = np.random.default_rng(0)
    names = ["B", "C", "A"]
    code_R = np.repeat(np.arange(3), 120)
    when_R = np.tile(np.datetime64("2019-12-20", "us") + np.arange(120) * np.timedelta64(1, "D"), 3)
    if shuffled:
        order = rng.permutation(360)
        code_R, when_R = code_R[order], when_R[order]
    want = [universe.contains(names[c], when_R[r : r + 1])[0] for r, c in enumerate(code_R)]
    assert universe.mask(names, code_R, when_R).tolist() == want
    assert sum(want) > 100


def test_mask_of_no_rows_is_empty(universe: Universe) -> None:
    assert universe.mask([], np.empty(0, np.int32), days()).shape == (0,)


def test_keep_drops_the_spans_of_others(universe: Universe) -> None:
    kept = universe.keep(["A", "Z"])
    assert kept.instrument_K == ("A",)
    assert kept.end_K[0] == FOREVER


def test_a_table_of_spans_goes_there_and_back(universe: Universe) -> None:
    frame = universe.to_frame()
    assert frame["end"].isna().tolist() == [True, False, False]
    back = universe_of_frame("u", frame)
    assert back.instrument_K == universe.instrument_K
    assert (back.end_K == universe.end_K).all()
    assert (back.start_K == universe.start_K).all()


def test_all_spans_from_first_bar_to_last() -> None:
    first, last = days("2020-01-01", "2020-02-01")
    every = universe_of_bars({"B": (first, last), "A": (last, last)})
    assert every.name == "all"
    assert every.instruments == ("A", "B")
    assert every.contains("A", days("2020-01-01", "2020-02-01T10:00")).tolist() == [False, True]


@pytest.mark.parametrize(
    ("name", "start", "end", "says"),
    [
        ("u", "2020-02-01", "2020-01-01", "row 1: A starts 2020-02-01"),
        ("u", "NaT", "2020-01-01", "starts NaT"),
        ("../u", "2020-01-01", "2020-01-01", "cannot name a universe"),
    ],
)
def test_spans_that_make_no_sense(name: str, start: str, end: str, says: str) -> None:
    with pytest.raises(DataError, match=says):
        make_universe(name, ["A"], days(start), days(end), where="here")


def test_an_empty_universe_is_an_error() -> None:
    with pytest.raises(DataError, match="universe u is empty"):
        universe_of_frame("u", pd.DataFrame({"instrument": [], "start": [], "end": []}))
    with pytest.raises(DataError, match="no column end"):
        universe_of_frame("u", pd.DataFrame({"instrument": ["A"], "start": ["2020-01-01"]}))
