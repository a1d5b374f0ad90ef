"""Signal figures against plain definitions, date by date."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from raybench.metrics import signal
from raybench.metrics.signal import Array

T, N = 130, 23  # more dates than a block holds


def draw(seed: int, *, missing: float = 0.0, ties: bool = False) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    score_TN = rng.integers(0, 5, (T, N)).astype(float) if ties else rng.standard_normal((T, N))
    label_TN = 0.3 * score_TN + rng.standard_normal((T, N))
    for value_TN in (score_TN, label_TN):
        value_TN[rng.random((T, N)) < missing] = np.nan
    return score_TN, label_TN


CASES = pytest.mark.parametrize(
    ("missing", "ties"), [(0.0, False), (0.3, False), (0.0, True), (0.3, True), (0.95, False)]
)


@CASES
def test_correlations_are_pandas_correlations(missing: float, ties: bool) -> None:
    score_TN, label_TN = draw(0, missing=missing, ties=ties)
    pairs = [pd.DataFrame({"x": x, "y": y}).dropna() for x, y in zip(score_TN, label_TN, strict=True)]
    ic = [p["x"].corr(p["y"]) if p.nunique().min() > 1 else np.nan for p in pairs]
    rank_ic = [p["x"].rank().corr(p["y"].rank()) if p.nunique().min() > 1 else np.nan for p in pairs]
    np.testing.assert_allclose(signal.correlations(score_TN, label_TN), ic, atol=1e-12)
    np.testing.assert_allclose(signal.rank_correlations(score_TN, label_TN), rank_ic, atol=1e-12)


@pytest.mark.parametrize("correlate", [signal.correlations, signal.rank_correlations])
def test_a_constant_side_has_no_correlation(correlate: Callable[[Array, Array], Array]) -> None:
    label_TN = np.random.default_rng(0).standard_normal((3, 301))
    assert np.isnan(correlate(np.full((3, 301), 0.1), label_TN)).all()


def test_no_dates_give_no_correlations() -> None:
    assert signal.correlations(np.empty((0, 4)), np.empty((0, 4))).shape == (0,)


@CASES
def test_long_short_takes_a_fifth_at_each_end(missing: float, ties: bool) -> None:
    score_TN, label_TN = draw(1, missing=missing, ties=ties)
    result, average = signal.long_short(score_TN, label_TN)
    for t in range(T):
        frame = pd.DataFrame({"score": score_TN[t], "label": label_TN[t]}).dropna(subset="score")
        size = int(len(frame) * 0.2)
        ends = frame.nlargest(size, "score")["label"].mean() - frame.nsmallest(size, "score")["label"].mean()
        np.testing.assert_allclose(result[t], ends / 2, atol=1e-12)
        np.testing.assert_allclose(average[t], frame["label"].mean(), atol=1e-12)


def test_quantiles_part_a_date_evenly_and_rise_with_the_score() -> None:
    score_TN = np.random.default_rng(0).permuted(np.tile(np.arange(25.0), (4, 1)), axis=1)
    np.testing.assert_allclose(signal.quantile_returns(score_TN, score_TN), np.tile([2, 7, 12, 17, 22], (4, 1)))


def test_quantiles_leave_out_the_unscored() -> None:
    score_TN = np.array([[0.0, 1.0, 2.0, 3.0, 4.0, np.nan]])
    label_TN = np.array([[0.0, 1.0, np.nan, 3.0, 4.0, 100.0]])
    np.testing.assert_equal(signal.quantile_returns(score_TN, label_TN), [[0.0, 1.0, np.nan, 3.0, 4.0]])


def test_autocorrelation_of_repeating_scores() -> None:
    score_TN = np.tile(np.random.default_rng(0).standard_normal((2, 50)), (10, 1))  # period of two dates
    result = signal.autocorrelation(score_TN, lags=25)
    np.testing.assert_allclose(result[1:19:2], 1.0)
    assert abs(result[0]) < 0.9
    assert np.isnan(result[19:]).all()


def test_decay_looks_at_later_labels_only() -> None:
    label_LN = np.random.default_rng(0).standard_normal((40, 60))
    score_TN, first_T = label_LN[3:33], np.arange(30)  # a score that knows the label of three dates later
    decay = signal.rank_ic_decay(score_TN, label_LN, first_T, horizons=5)
    assert decay[3] == pytest.approx(1.0)
    assert (np.abs(np.delete(decay, 3)) < 0.1).all()


def test_ratio_of_too_few_dates_is_not_known() -> None:
    assert np.isnan(signal.ratio(np.array([0.1])))
    assert signal.ratio(np.array([1.0, np.nan, 3.0])) == pytest.approx(2 / np.sqrt(2))
