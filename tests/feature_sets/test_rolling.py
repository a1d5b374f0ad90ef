"""The rolling operators against pandas, over holes, ties, constants and huge numbers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from raybench.feature_sets import rolling

WINDOWS = np.array([1, 2, 5, 20, 60])
ROWS = 700  # more than two chunks of the kernels


def series(pattern: str) -> NDArray[np.float32]:
    rng = np.random.default_rng(0)
    x = np.exp(rng.normal(0, 0.02, ROWS).cumsum() + 3).astype(np.float32)
    if pattern == "holes":
        x[rng.random(ROWS) < 0.3] = np.nan
        x[100:170] = np.nan
    if pattern == "ties":
        x = np.round(x)
    if pattern == "constant":
        x[50:300] = x[50]
    if pattern == "infinite":
        x[[40, 300]] = np.inf
        x[[41, 500]] = -np.inf
    return x


def by_pandas(x: NDArray[np.float32], function: Callable[[pd.core.window.Rolling], pd.Series]) -> NDArray[np.float64]:
    finite = pd.Series(x.astype(np.float64)).where(np.isfinite(x))
    return np.stack([function(finite.rolling(int(d), min_periods=1)).to_numpy() for d in WINDOWS])


PATTERNS = pytest.mark.parametrize("pattern", ["plain", "holes", "ties", "constant", "infinite"])
OPERATORS: dict[str, tuple[Callable[..., NDArray[np.float64]], Callable[..., pd.Series]]] = {
    "total": (lambda x: rolling.total(x, WINDOWS), lambda r: r.sum()),
    "mean": (lambda x: rolling.moments(x, WINDOWS)[0], lambda r: r.mean()),
    "std": (lambda x: rolling.moments(x, WINDOWS)[1], lambda r: r.std()),
    "maximum": (lambda x: rolling.maximum(x, WINDOWS), lambda r: r.max()),
    "rank": (lambda x: rolling.rank(x, WINDOWS), lambda r: r.rank(pct=True)),
    "quantile": (lambda x: rolling.quantiles(x, WINDOWS, np.array([0.2]))[0], lambda r: r.quantile(0.2)),
    "argmax": (lambda x: rolling.argmax(x, WINDOWS), lambda r: r.apply(lambda w: w.argmax() + 1, raw=True)),
}


@PATTERNS
@pytest.mark.parametrize("name", OPERATORS)
def test_operator_equals_pandas(name: str, pattern: str) -> None:
    ours, theirs = OPERATORS[name]
    x = series(pattern)
    # pandas' own running deviation is only near 0 after a constant stretch, ours is 0
    np.testing.assert_allclose(ours(x), by_pandas(x, theirs), rtol=1e-7, atol=1e-6)


@PATTERNS
def test_correlation_equals_pandas(pattern: str) -> None:
    x, y = series(pattern), np.roll(series("holes"), 7) + series("plain") ** 2
    a, b = (pd.Series(v.astype(np.float64)).where(np.isfinite(v)) for v in (x, y))
    want = np.stack([a.rolling(int(d), min_periods=1).corr(b).to_numpy() for d in WINDOWS])
    got = rolling.correlation(x, y, WINDOWS)
    varies = rolling.moments(np.where(np.isfinite(y), x, np.nan).astype(np.float32), WINDOWS)[1] > 1e-6
    np.testing.assert_allclose(got[varies], want[varies], rtol=1e-6, atol=1e-6)
    assert np.isnan(got[~varies]).all()


@PATTERNS
def test_trend_is_the_least_squares_line(pattern: str) -> None:
    x = series(pattern)
    mean, std, slope, square, rest = rolling.trend(x, WINDOWS)
    np.testing.assert_array_equal(mean, rolling.moments(x, WINDOWS)[0])
    np.testing.assert_allclose(std, rolling.moments(x, WINDOWS)[1], rtol=1e-12)
    for j, width in enumerate(WINDOWS):
        for t in range(0, ROWS, 13):
            y = x[max(0, t - width + 1) : t + 1].astype(np.float64)
            at = np.flatnonzero(np.isfinite(y))
            if len(at) < 2:
                assert np.isnan([slope[j, t], square[j, t], rest[j, t]]).all()
                continue
            line = np.polyfit(at, y[at], 1)
            assert slope[j, t] == pytest.approx(line[0], rel=1e-6, abs=1e-9)
            if std[j, t] > 0:
                assert square[j, t] == pytest.approx(np.corrcoef(at, y[at])[0, 1] ** 2, rel=1e-6, abs=1e-9)
            here = np.isfinite(x[t])
            assert rest[j, t] == pytest.approx(
                y[-1] - np.polyval(line, len(y) - 1) if here else np.nan, abs=1e-6, nan_ok=True
            )


def test_constant_window_has_deviation_zero_and_no_correlation() -> None:
    x = np.full(100, 0.1, np.float32)
    x[:3] = 1e30  # a huge past leaves no trace
    std = rolling.moments(x, WINDOWS)[1]
    assert (std[1:4, 30:] == 0).all()
    assert np.isnan(rolling.correlation(x, series("plain")[:100], WINDOWS)[1:4, 30:]).all()


def test_a_window_of_a_huge_number_leaves_no_trace() -> None:
    x, y = series("plain"), series("plain")
    y[200:203] = (3e38, -3e38, np.inf)
    for ours, _ in OPERATORS.values():
        a, b = ours(x), ours(y)
        np.testing.assert_array_equal(a[:, :200], b[:, :200])
        np.testing.assert_array_equal(a[:, 263:], b[:, 263:])


@pytest.mark.parametrize("rows", [-3, -1, 0, 1, 5, 10, 12])
def test_shift(rows: int) -> None:
    x = np.arange(10, dtype=np.float32)
    np.testing.assert_array_equal(rolling.shift(x, rows), pd.Series(x).shift(rows).to_numpy())
