"""The synthetic market: reproducible, consistent, and honest about its signal."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from raybench.config.data.label import DEFAULT_LABEL, parse_label
from raybench.feature_sets import alpha158, labels
from raybench.market.bars import BarBlock
from raybench.market.synthetic import (
    FIELDS,
    LOOKBACK,
    SHADOW,
    Market,
    attainable_rank_ic,
    make_market,
    planted_signal,
)


@pytest.fixture(scope="module")
def market() -> Market:
    return make_market(seed=0, instruments=60, years=3)


def test_same_seed_same_market_and_other_seed_another() -> None:
    first, again, other = (make_market(seed=s, instruments=8, years=0.5) for s in (3, 3, 4))
    pd.testing.assert_frame_equal(first.bars, again.bars)
    pd.testing.assert_frame_equal(first.spans, again.spans)
    assert not first.bars["close"].equals(other.bars["close"])


def test_bars_are_consistent(market: Market) -> None:
    traded = market.bars.dropna()
    assert (traded[list(FIELDS)] > 0).all().all()
    for field in ("open", "close", "vwap"):
        assert traded[field].between(traded["low"], traded["high"]).all()
    assert not market.bars.duplicated(["instrument", "datetime"]).any()
    assert market.bars["datetime"].isin(market.calendar).all()


def test_some_are_suspended_list_late_or_go(market: Market) -> None:
    life = market.bars.groupby("instrument")["datetime"].agg(["min", "max", "size"])
    assert 0.005 < market.bars["close"].isna().mean() < 0.08
    assert (life["min"] > market.calendar[0]).sum() >= 5
    assert (life["max"] < market.calendar[-1]).sum() >= 2
    # No gaps: a suspended date is a row of NaN.
    span = market.calendar.get_indexer(life["max"]) - market.calendar.get_indexer(life["min"]) + 1
    assert (span == life["size"]).all()


def test_universe_changes_and_holds_only_what_is_listed(market: Market) -> None:
    life = market.bars.groupby("instrument")["datetime"].agg(["min", "max"])
    joined = market.spans.join(life, on="instrument")
    assert (joined["start"] >= joined["min"]).all()
    assert (joined["end"] <= joined["max"]).all()
    assert (joined["start"] <= joined["end"]).all()
    assert (market.spans["start"] > market.calendar[0]).any()


@pytest.mark.parametrize("at", [100, 400])
def test_signal_is_a_function_of_the_last_rows(market: Market, at: int) -> None:
    """Recomputed from bars of K dates alone, so nothing after t and nothing hidden is in it."""
    dates = market.calendar[at - LOOKBACK + 1 : at + 1]
    window = market.bars[market.bars["datetime"].isin(dates)]
    wide = window.pivot(index="datetime", columns="instrument")
    tables = {field: wide[field].dropna(axis=1) for field in FIELDS}
    open_KN, close_KN, low_KN = (tables[f].to_numpy(np.float64) for f in ("open", "close", "low"))
    shadow_KN = (np.minimum(open_KN, close_KN) - low_KN) / open_KN
    again = planted_signal(np.log(close_KN), shadow_KN, np.log(tables["volume"].to_numpy(np.float64)))
    told = market.signal.pivot(index="datetime", columns="instrument", values="signal").loc[dates[-1]]
    np.testing.assert_allclose(again, told[tables["close"].columns], atol=1e-3)


def test_planted_signal_reacts_to_each_ingredient() -> None:
    rng = np.random.default_rng(0)
    close_KN = np.cumsum(0.01 * rng.standard_normal((LOOKBACK, 5)), axis=0)
    shadow_KN, volume_KN = rng.exponential(SHADOW, (LOOKBACK, 5)), rng.standard_normal((LOOKBACK, 5))
    base = planted_signal(close_KN, shadow_KN, volume_KN)
    longer = shadow_KN.copy()
    longer[-3] += 2 * SHADOW  # memory: a shadow three rows ago still counts
    assert (planted_signal(close_KN, longer, volume_KN) > base).all()
    assert (np.abs(planted_signal(close_KN, shadow_KN, -volume_KN) - base) > 1e-3).all()


def test_attainable_rank_ic_is_what_the_signal_reaches() -> None:
    market = make_market(seed=0, instruments=120, years=3)
    assert 0.10 < market.attainable_rank_ic < 0.17
    half = market.calendar[len(market.calendar) // 2]
    assert 0.10 < market.attainable(start=str(half)) < 0.18
    opposite = market.signal.assign(signal=-market.signal["signal"])
    flipped = replace(market, signal=opposite)
    assert flipped.attainable() == pytest.approx(-market.attainable_rank_ic)


def test_linear_regression_on_alpha158_finds_most_of_it() -> None:
    """So a network that finds much less is not working; fitted on the first half, judged on the second."""
    market = make_market(seed=0, instruments=120, years=3)
    block = BarBlock.from_frame(market.bars)
    feature_RF = alpha158.compute(block, ["KLOW", "CORR5", "CORR10", "RESI5", "RESI10"]).astype(np.float64)
    label_R = labels.compute(block, parse_label(DEFAULT_LABEL)).astype(np.float64)
    half = market.calendar[len(market.calendar) // 2]
    known_R = np.isfinite(feature_RF).all(axis=1)
    train_R = known_R & np.isfinite(label_R) & (block.datetime_R < half)
    design = np.column_stack([feature_RF, np.ones(len(feature_RF))])
    weights = np.linalg.lstsq(design[train_R], label_R[train_R], rcond=None)[0]
    names = np.asarray(block.instruments, dtype=object)[block.code_R]
    found = pd.DataFrame({"instrument": names, "datetime": block.datetime_R})
    found["signal"] = np.where(known_R, design @ weights, np.nan)
    reached = attainable_rank_ic(market.bars, market.spans, found, start=str(half))
    assert 0.5 < reached / market.attainable(start=str(half)) < 0.95
