"""The paired test: rejects about as often as it says where there is nothing, and finds what is there."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from raybench.comparison.paired import against_best, block_length, holm, paired, paired_table


def series(value: np.ndarray, first: str = "2017-01-02") -> pd.Series:
    return pd.Series(value, index=pd.bdate_range(first, periods=len(value)))


def wave(rng: np.random.Generator, dates: int, memory: float) -> np.ndarray:
    """Noise whose neighbours are alike."""
    noise, value = rng.normal(size=dates + 50), 0.0
    found = np.empty(dates + 50)
    for t, each in enumerate(noise):
        value = memory * value + each
        found[t] = value
    return found[50:] * 0.05


def rejected(memory: float, *, draws: int = 120, shift: float = 0.0) -> float:
    rng = np.random.default_rng(5)
    same = series(np.zeros(200))
    found = [
        paired(series(wave(rng, 200, memory) + shift), same, names=("a", "b"), repeats=199, seed=k).p_value < 0.05
        for k in range(draws)
    ]
    return float(np.mean(found))


@pytest.mark.parametrize("memory", [0.0, 0.6])
def test_rejects_about_one_in_twenty_where_there_is_nothing(memory: float) -> None:
    assert 0.0 < rejected(memory) < 0.15  # a t-test that takes the dates as independent rejects 0.3 at memory 0.6


def test_finds_a_shift() -> None:
    assert rejected(0.0, draws=20, shift=0.02) > 0.9


def test_only_common_dates_count_and_the_mean_is_theirs() -> None:
    rng = np.random.default_rng(0)
    one, two = rng.normal(size=60), rng.normal(size=60)
    two[3] = np.nan
    found = paired(series(one), series(two, "2017-01-09"), names=("a", "b"))
    expected = (one[5:] - two[:55])[np.arange(55) != 3]
    assert found.dates == 54
    assert found.difference == pytest.approx(expected.mean())
    assert found.low < found.difference < found.high
    assert found == paired(series(one), series(two, "2017-01-09"), names=("a", "b"))  # seeded


def test_too_few_dates_and_equal_series_are_not_tested() -> None:
    few = paired(series(np.arange(19.0)), series(np.zeros(19)), names=("a", "b"))
    assert few.difference == 9.0
    assert math.isnan(few.p_value)
    equal = paired(series(np.arange(40.0)), series(np.arange(40.0)), names=("a", "b"))
    assert (equal.difference, equal.dates) == (0.0, 40)
    assert math.isnan(equal.p_value)
    none = paired(series(np.zeros(5)), series(np.zeros(5), "2020-01-01"), names=("a", "b"))
    assert none.dates == 0


def test_blocks_are_no_shorter_than_the_horizon() -> None:
    noise = np.random.default_rng(1).normal(size=300)
    assert block_length(noise, 5) >= 5
    assert block_length(noise, 1000) == 150
    alike = np.repeat(noise[:30], 10)
    assert block_length(alike, 1) > block_length(noise, 1)


def test_each_against_the_best_with_holm() -> None:
    rng = np.random.default_rng(2)
    base = rng.normal(scale=0.1, size=250)
    means = pd.DataFrame(
        {
            "best": base + 0.05,
            "like it": base + 0.049 + rng.normal(scale=0.05, size=250),
            "far": base + rng.normal(scale=0.05, size=250),
            "unknown": np.nan,
        },
        index=pd.bdate_range("2017-01-02", periods=250),
    )
    like, far = against_best(means)
    assert (like.name, far.name, like.against, far.against) == ("like it", "far", "best", "best")
    assert far.p_holm < 0.01 < like.p_holm
    assert far.p_holm == pytest.approx(min(1.0, 2 * far.p_value))
    assert far.high < 0
    table = paired_table([like, far])
    assert [row[0] for row in table.rows] == ["like it", "far"]
    assert all(len(row) == len(table.columns) for row in table.rows)


def test_nothing_to_test() -> None:
    index = pd.bdate_range("2017-01-02", periods=2)
    assert against_best(pd.DataFrame({"a": [0.1, np.nan], "b": [np.nan, 0.1]}, index=index)) == []
    assert against_best(pd.DataFrame({"a": [0.1, 0.2]}, index=index)) == []


def test_holm_by_hand() -> None:
    assert holm([0.04, math.nan, 0.01]) == pytest.approx([0.04, math.nan, 0.02], nan_ok=True)
    assert holm([0.9, 0.8]) == [1.0, 1.0]
