"""``evaluate`` on tables: Qlib's figures on real data, and what a user can get wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import raybench
from raybench.errors import DataError
from raybench.evaluation.evaluation import evaluate
from raybench.market.synthetic import Market, make_market


@pytest.fixture(scope="module")
def market() -> Market:
    return make_market(seed=1, instruments=40, years=1)


@pytest.fixture(scope="module")
def scores(market: Market) -> pd.DataFrame:
    return market.signal.dropna().rename(columns={"signal": "score"})


def real_bars(provider: Path, instruments: list[str]) -> pd.DataFrame:
    """Closes of a Qlib provider, read as its format says: float32, the first value is the start index."""
    calendar = pd.to_datetime((provider / "calendars" / "day.txt").read_text().split())
    frames = []
    for name in instruments:
        raw = np.fromfile(provider / "features" / name.lower() / "close.day.bin", dtype="<f4")
        first = int(raw[0])
        dates = calendar[first : first + len(raw) - 1]
        frames.append(pd.DataFrame({"instrument": name, "datetime": dates, "close": raw[1:]}))
    return pd.concat(frames)


@pytest.mark.shared
@pytest.mark.parametrize("from_bars", [False, True])
def test_equals_qlib_on_real_data(shared: Path, from_bars: bool) -> None:
    folder = shared / "oracle" / "evaluation"
    labels = pd.read_parquet(folder / "labels.parquet")
    wanted = pd.read_parquet(folder / "signal_daily.parquet")
    against = real_bars(shared / "cn_data", list(labels["instrument"].unique())) if from_bars else labels
    result = evaluate(pd.read_parquet(folder / "scores.parquet"), against)
    assert (result.daily["datetime"] == wanted["datetime"]).all()
    for name in ("ic", "rank_ic", "long_short", "long_avg"):
        np.testing.assert_allclose(result.daily[name], wanted[name], rtol=0, atol=1e-6)
    for name, value in json.loads((folder / "eval.json").read_text())["signal"].items():
        assert result.metrics[name] == pytest.approx(value, abs=1e-6)


def test_the_planted_signal_reaches_what_is_attainable(market: Market, scores: pd.DataFrame) -> None:
    spans = market.bars.groupby("instrument")["datetime"].agg(start="min", end="max").reset_index()
    everywhere = Market(
        bars=market.bars,
        spans=spans,
        calendar=market.calendar,
        signal=market.signal,
        attainable_rank_ic=float("nan"),
    )
    result = evaluate(scores, market.bars)
    assert result.metrics["Rank IC"] == pytest.approx(everywhere.attainable(), abs=1e-6)
    means = result.daily[[f"q{q}" for q in range(1, 6)]].mean()
    assert means.is_monotonic_increasing


def test_row_order_and_given_labels_make_no_difference(market: Market, scores: pd.DataFrame) -> None:
    close = market.bars.pivot(index="datetime", columns="instrument", values="close")
    labels = (close.shift(-2) / close.shift(-1) - 1).stack().rename("label").reset_index()
    first = evaluate(scores, market.bars)
    again = evaluate(scores.sample(frac=1, random_state=0), labels.sample(frac=1, random_state=1))
    pd.testing.assert_frame_equal(first.daily, again.daily, atol=1e-6)


def test_another_label_and_a_range(market: Market, scores: pd.DataFrame) -> None:
    start, end = market.calendar[100], market.calendar[150]
    result = evaluate(scores, market.bars, label="Ref($close, -1) / $close - 1", start=start, end=end)
    assert result.daily["datetime"].iloc[[0, -1]].tolist() == [start, end]
    # the signal moves the second return, not the first
    assert result.metrics["Rank IC"] < evaluate(scores, market.bars, start=start, end=end).metrics["Rank IC"]


def test_only_the_label_looks_ahead(market: Market, scores: pd.DataFrame) -> None:
    """Bars after t + 2 change nothing at or before t."""
    t = market.calendar[150]
    later = market.bars["datetime"] > market.calendar[152]
    changed = market.bars.copy()
    changed.loc[later, "close"] *= np.float32(1.7)
    before, after = (evaluate(scores, bars).daily.set_index("datetime") for bars in (market.bars, changed))
    pd.testing.assert_frame_equal(before.loc[:t], after.loc[:t])


def test_last_dates_without_labels_are_left_out_of_means(market: Market, scores: pd.DataFrame) -> None:
    daily = evaluate(scores, market.bars).daily
    assert daily["rank_ic"].isna().tolist()[-2:] == [True, True]
    assert (daily["labelled"].iloc[-2:] == 0).all()
    assert (daily["scored"].iloc[-2:] > 0).all()


def test_coverage_is_passed_on(market: Market, scores: pd.DataFrame) -> None:
    known = pd.Series([0.5], index=[scores["datetime"].max().date()])
    coverage = evaluate(scores, market.bars, coverage=known).daily["coverage"]
    assert coverage.iloc[-1] == 0.5
    assert coverage.iloc[:-1].isna().all()


def test_the_verb_of_the_package(market: Market, scores: pd.DataFrame) -> None:
    result = raybench.evaluate(scores, market.bars)
    assert list(result.metrics)[:4] == ["IC", "ICIR", "Rank IC", "Rank ICIR"]


def test_what_cannot_be_evaluated_says_why(market: Market, scores: pd.DataFrame) -> None:
    with pytest.raises(DataError, match="no column score"):
        evaluate(scores.drop(columns="score"), market.bars)
    with pytest.raises(DataError, match="change --start or --end"):
        evaluate(scores, market.bars, start="2030-01-01")
    with pytest.raises(DataError, match="40 of 40 instruments have no bars"):
        evaluate(scores.assign(instrument="X" + scores["instrument"]), market.bars)
    with pytest.raises(DataError, match="twice on one datetime"):
        evaluate(pd.concat([scores, scores]), market.bars)


def test_the_overlap_of_labels_is_in_annual_figures(market: Market, scores: pd.DataFrame) -> None:
    """A label over five bars is earned 50.4 times a year, one after another."""
    five = evaluate(scores, market.bars, label="Ref($close, -6) / Ref($close, -1) - 1")
    mean, spread = five.daily["long_short"].mean(), five.daily["long_short"].std()
    assert five.metrics["Long-Short Ann Return"] == pytest.approx(mean * 252 / 5)
    assert five.metrics["Long-Short Ann Sharpe"] == pytest.approx(mean / spread * (252 / 5) ** 0.5)
    assert five.metrics["Rank ICIR"] == pytest.approx(five.daily["rank_ic"].mean() / five.daily["rank_ic"].std())
    naive = five.daily["rank_ic"].std() / five.daily["rank_ic"].count() ** 0.5
    assert five.metrics["Rank IC standard error"] > 1.2 * naive


def test_weekly_bars_have_52_periods(market: Market, scores: pd.DataFrame) -> None:
    friday = [frame[frame["datetime"].dt.day_of_week == 4] for frame in (scores, market.bars)]
    weekly = evaluate(*friday)
    assert weekly.timing.periods_per_year == 52
    assert weekly.metrics["Long-Short Ann Return"] == pytest.approx(weekly.daily["long_short"].mean() * 52)
