"""Every rolling operator against a plain reading of its formula, window by window, on any rows at all."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from raybench.feature_sets import rolling, rolling_few

Series = NDArray[np.float32]
Window = NDArray[np.float64]
SHARES = np.array([0.0, 0.2, 0.8, 1.0])

# Holes (NaN on a suspended date, inf out of a division), few values so that ties are common, and any float32 there is.
VALUES = st.one_of(
    st.sampled_from([np.nan, np.nan, np.inf, -np.inf, 0.0, 1.0, 1.0, 2.0, -1.0]),
    st.floats(width=32, allow_nan=False, allow_infinity=False),
    st.floats(1, 100, width=32),
)
WINDOWS = st.sets(st.sampled_from([1, 2, 3, 5, 20, 60]), min_size=1).map(lambda found: np.array(sorted(found)))


@st.composite
def series(draw: st.DrawFn, rows: int | None = None) -> Series:
    """Rows with a suspension in the middle now and then."""
    length = draw(st.integers(0, 24)) if rows is None else rows
    x = draw(arrays(np.float32, length, elements=VALUES, fill=st.nothing()))
    start, days = draw(st.integers(0, 24)), draw(st.sampled_from([0, 0, 6]))
    x[start : start + days] = np.nan
    return x


def history(rows: int) -> Series:
    """What lies before the rows that are drawn: with 250 of them they cross the border of two chunks."""
    x = np.random.default_rng(rows).normal(10, 1, rows).astype(np.float32)
    x[::7] = np.nan
    return x


BEFORE = st.sampled_from([0, 0, 250]).map(history)


def present(w: Window) -> Window:
    return w[np.isfinite(w)]


def line(w: Window) -> tuple[float, float, float]:
    """Slope, r-square and newest residual by least squares over the rows that are there."""
    at = np.flatnonzero(np.isfinite(w)).astype(np.float64)
    y = w[np.isfinite(w)]
    if len(y) < 2:
        return np.nan, np.nan, np.nan
    x, away = at - at.mean(), y - y.mean()
    slope = float((x * away).sum() / (x * x).sum())
    varies = (y != y[0]).any()
    square = float((x * away).sum() ** 2 / ((x * x).sum() * (away * away).sum())) if varies else np.nan
    rest = float(away[-1] - slope * x[-1]) if np.isfinite(w[-1]) else np.nan
    return slope, square, rest


def ranked(w: Window) -> float:
    y = present(w)
    return ((y < w[-1]).sum() + ((y == w[-1]).sum() + 1) / 2) / len(y) if np.isfinite(w[-1]) else np.nan


def std(w: Window) -> float:
    y = present(w)
    return float(y.std(ddof=1)) if len(y) > 1 else np.nan


def share(q: float) -> Callable[[Window], float]:
    return lambda w: float(np.quantile(present(w), q)) if len(present(w)) else np.nan


def some(function: Callable[[Window], float]) -> Callable[[Window], float]:
    """Of a window in which nothing is there: NaN."""
    return lambda w: function(w) if len(present(w)) else np.nan


PLAIN: dict[str, Callable[[Window], float]] = {
    "total": some(lambda w: present(w).sum()),
    "mean": some(lambda w: present(w).mean()),
    "std": std,
    "slope": lambda w: line(w)[0],
    "square": lambda w: line(w)[1],
    "rest": lambda w: line(w)[2],
    "maximum": some(lambda w: present(w).max()),
    "argmax": some(lambda w: np.where(np.isfinite(w), w, np.inf).argmax() + 1),
    "rank": some(ranked),
    **{f"quantile {q}": share(q) for q in SHARES},
}


def computed(x: Series, windows: NDArray[np.int64]) -> dict[str, Window]:
    """What the operators give, [K, L] each, by the names in PLAIN."""
    mean, std_, slope, square, rest = rolling.trend(x, windows)
    for once, again in zip(rolling.moments(x, windows), (mean, std_), strict=True):
        np.testing.assert_allclose(once, again, rtol=1e-12)
    ordered = rolling.quantiles(x, windows, SHARES)
    return {
        "total": rolling.total(x, windows),
        **{"mean": mean, "std": std_, "slope": slope, "square": square, "rest": rest},
        "maximum": rolling.maximum(x, windows),
        "argmax": rolling.argmax(x, windows),
        "rank": rolling.rank(x, windows),
        **{f"quantile {q}": value_KL for q, value_KL in zip(SHARES, ordered, strict=True)},
    }


def windows_of(x: Series, width: int) -> list[Window]:
    return [x[max(0, t - width + 1) : t + 1].astype(np.float64) for t in range(len(x))]


def largest(w: Window) -> float:
    """What float64 rounds to: sums of numbers of this size are no better than that."""
    return float(np.abs(present(w)).max(initial=0.0))


@given(before=BEFORE, drawn=series(), windows=WINDOWS)
def test_the_operators_are_their_formulas(before: Series, drawn: Series, windows: NDArray[np.int64]) -> None:
    x = np.concatenate([before, drawn])
    got = computed(x, windows)
    assert got.keys() == PLAIN.keys()
    for k, width in enumerate(windows):
        for t, w in list(enumerate(windows_of(x, width)))[len(before) :]:
            for name, plain in PLAIN.items():
                exact = 1e-9 if name == "square" else 1e-13 * largest(w)  # a share of 1, the others are prices
                ours, want = got[name][k, t], plain(w)
                assert np.isnan(ours) == np.isnan(want), (name, w, ours, want)
                assert np.isnan(want) or abs(ours - want) <= 1e-9 * abs(want) + exact, (name, w, ours, want)


@given(drawn=st.integers(0, 24).flatmap(lambda n: st.tuples(series(n), series(n))), windows=WINDOWS)
def test_correlation_is_its_formula(drawn: tuple[Series, Series], windows: NDArray[np.int64]) -> None:
    x, y = drawn
    for width, got_L in zip(windows, rolling.correlation(x, y, windows), strict=True):
        for a, b, got in zip(windows_of(x, width), windows_of(y, width), got_L, strict=True):
            both = np.isfinite(a) & np.isfinite(b)
            a, b = a[both], b[both]
            varies = len(a) > 1 and (a != a[0]).any() and (b != b[0]).any()
            assert np.isnan(got) != varies, (a, b, got)
            if varies:
                u, v = ((z - z.mean()) / np.abs(z - z.mean()).max() for z in (a, b))
                assert abs(got - (u * v).sum() / np.sqrt((u * u).sum() * (v * v).sum())) < 1e-9, (a, b, got)


@given(rows=st.lists(series(12), min_size=1, max_size=3), windows=WINDOWS)
def test_the_operators_for_few_rows_give_the_same_bits(rows: list[Series], windows: NDArray[np.int64]) -> None:
    x_NL = np.stack(rows)
    for name in ("total", "moments", "trend", "maximum", "argmax", "rank"):
        with np.errstate(all="ignore"):
            found = getattr(rolling_few, name)(x_NL, windows)
        for i, x_L in enumerate(x_NL):
            once = getattr(rolling, name)(x_L, windows)
            ours, theirs = (found, once) if isinstance(found, tuple) else ((found,), (once,))
            for a, b in zip(ours, theirs, strict=True):
                np.testing.assert_array_equal(a[:, i].view(np.int64), b.view(np.int64), err_msg=name)


@given(x=series(), rows=st.integers(-30, 30))
def test_shift_is_a_look_at_another_row(x: Series, rows: int) -> None:
    got = rolling.shift(x, rows)
    for t in range(len(x)):
        want = x[t - rows] if 0 <= t - rows < len(x) else np.float32(np.nan)
        np.testing.assert_array_equal(got[t], want)
