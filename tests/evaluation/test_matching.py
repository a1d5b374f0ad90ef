"""Scores and bars that do not belong together are counted and named, or refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from raybench.errors import DataError
from raybench.evaluation.evaluation import evaluate
from raybench.market.synthetic import Market, make_market


@pytest.fixture(scope="module")
def market() -> Market:
    return make_market(seed=1, instruments=20, years=1)


@pytest.fixture(scope="module")
def scores(market: Market) -> pd.DataFrame:
    return market.signal.dropna().rename(columns={"signal": "score"})


def respelt(scores: pd.DataFrame, names: int) -> pd.DataFrame:
    """Some of the instruments written in lower case."""
    chosen = scores["instrument"].isin(sorted(set(scores["instrument"]))[:names])
    return scores.assign(instrument=scores["instrument"].where(~chosen, scores["instrument"].str.lower()))


def test_what_fits_is_told_nothing(market: Market, scores: pd.DataFrame) -> None:
    assert evaluate(scores, market.bars).warnings == ()


def test_a_few_strangers_are_counted_and_named(market: Market, scores: pd.DataFrame) -> None:
    (line,) = evaluate(respelt(scores, 3), market.bars).warnings
    first = scores["instrument"].min()
    assert "3 of 20 instruments have no bars" in line
    assert f"({first.lower()} is {first} there)" in line


def test_half_of_the_names_is_too_many(market: Market, scores: pd.DataFrame) -> None:
    with pytest.raises(DataError, match=r"scores \(\d+%\) have no bars: 10 of 20 instruments .*want the bars"):
        evaluate(respelt(scores, 10), market.bars)


def test_dates_that_the_calendar_lacks(market: Market, scores: pd.DataFrame) -> None:
    late = scores["datetime"] > market.calendar[-20]
    shifted = scores.assign(datetime=scores["datetime"].where(~late, scores["datetime"] + pd.Timedelta(days=3650)))
    assert "19 dates are not in the calendar of" in evaluate(shifted, market.bars).warnings[0]
    with pytest.raises(DataError, match=r"have no bars: .* dates are not in the calendar"):
        evaluate(scores.assign(datetime=scores["datetime"] + pd.Timedelta(days=3650)), market.bars)


def test_another_stamp_in_the_day_is_recognised(market: Market, scores: pd.DataFrame) -> None:
    with pytest.raises(DataError, match=r"the bars of that day are stamped \d{4}-\d\d-\d\dT00:00:00"):
        evaluate(scores.assign(datetime=scores["datetime"] + pd.Timedelta(hours=15)), market.bars)


def test_bars_without_prices(market: Market, scores: pd.DataFrame) -> None:
    names = sorted(set(scores["instrument"]))
    for count, refused in ((5, False), (12, True)):
        holed = market.bars.assign(close=market.bars["close"].where(~market.bars["instrument"].isin(names[:count])))
        if refused:
            with pytest.raises(DataError, match="have no label"):
                evaluate(scores, holed)
        else:
            assert "have bars but no label" in evaluate(scores, holed).warnings[0]


def test_the_newest_dates_are_not_held_against_anybody(market: Market, scores: pd.DataFrame) -> None:
    found = evaluate(scores, market.bars, start=market.calendar[-3])
    assert found.warnings == ()
    assert list(found.daily["labelled"] > 0) == [True, False, False]


def test_null_scores_are_counted(market: Market, scores: pd.DataFrame) -> None:
    holed = scores.assign(score=scores["score"].where(scores.index % 10 != 0))
    assert "scores are null, NaN or infinite" in evaluate(holed, market.bars).warnings[0]
    with pytest.raises(DataError, match=r"none of the .* scores is a number"):
        evaluate(scores.assign(score=np.nan), market.bars)
