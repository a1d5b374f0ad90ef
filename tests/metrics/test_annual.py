"""Periods of a year by the calendar, and standard errors of overlapping labels."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from raybench.metrics.annual import Timing, periods_per_year, standard_error


def sessions(days: pd.DatetimeIndex, hours: list[float]) -> pd.DatetimeIndex:
    return pd.DatetimeIndex([day + pd.Timedelta(hours=hour) for day in days for hour in hours])


def some(days: pd.DatetimeIndex, *weekdays: int) -> pd.DatetimeIndex:
    return days[days.day_of_week.isin(weekdays)]


HOURS = [9.5 + k for k in range(7)]
MINUTES = [9.5 + k / 60 for k in range(120)] + [13 + k / 60 for k in range(120)]
YEARS, DAYS = pd.bdate_range("2015-01-01", "2020-01-01"), pd.date_range("2020-01-01", periods=700)
CALENDARS = {
    "business days": (pd.bdate_range("2020-01-01", periods=500), 252),
    "with holidays and a year missing": (YEARS[YEARS.year != 2017], 252),
    "one Saturday in ten": (DAYS[(DAYS.day_of_week < 5) | (DAYS.day == 5)], 252),
    "Sunday to Thursday": (some(DAYS, 6, 0, 1, 2, 3), 252),
    "a short month": (pd.bdate_range("2020-03-02", periods=9), 252),
    "one date": (pd.DatetimeIndex(["2020-03-02"]), 252),
    "every day": (pd.date_range("2020-01-01", periods=100), 365),
    "closing stamps": (pd.bdate_range("2020-01-01", periods=200) + pd.Timedelta(hours=15), 252),
    "weeks": (pd.date_range("2015-01-02", periods=150, freq="W-FRI"), 52),
    "months": (pd.date_range("2010-01-29", periods=120, freq="BME"), 12),
    "quarters": (pd.date_range("2010-01-29", periods=20, freq="QE"), 4),
    "hours of sessions": (sessions(pd.bdate_range("2020-01-02", periods=100), HOURS), 1826),
    "minutes of a week": (sessions(pd.bdate_range("2020-01-06", periods=5), MINUTES), 62614),
    "hours without end": (pd.date_range("2020-01-01", periods=5000, freq="h"), 8766),
    "three days a week": (some(DAYS, 0, 2, 4), 157),
}


@pytest.mark.parametrize(("calendar", "wanted"), CALENDARS.values(), ids=CALENDARS)
def test_periods_of_a_year(calendar: pd.DatetimeIndex, wanted: int) -> None:
    assert periods_per_year(calendar.to_numpy("datetime64[us]")) == wanted


def test_a_longer_label_is_earned_less_often() -> None:
    assert Timing().factor == 252
    assert Timing(periods_per_year=252, holding=5).factor == pytest.approx(50.4)


def newey_west(value: np.ndarray, lag: int) -> float:
    """By the textbook: sum of weighted autocovariances over the squared number."""
    centred = value - value.mean()
    total = sum(
        (1 if k == 0 else 2 * (1 - k / (lag + 1))) * (centred[k:] * centred[: len(centred) - k]).sum()
        for k in range(lag + 1)
    )
    return float(np.sqrt(total / len(value) / (len(value) - 1)))


def test_without_overlap_it_is_the_usual_one() -> None:
    value = np.random.default_rng(0).normal(size=50)
    assert standard_error(value) == pytest.approx(value.std(ddof=1) / np.sqrt(50))


def test_overlapping_labels_are_counted_by_newey_and_west() -> None:
    daily = np.random.default_rng(0).normal(size=3004)
    value = np.convolve(daily, np.ones(5), mode="valid")  # what five bars give, on each of 3000 dates
    assert standard_error(value, holding=5) == pytest.approx(newey_west(value, 4))
    assert standard_error(value, holding=5) > 1.7 * standard_error(value)


def test_scores_as_far_apart_as_labels_are_long_do_not_overlap() -> None:
    value = np.random.default_rng(0).normal(size=60).cumsum()
    assert standard_error(value, 5, np.arange(0, 300, 5)) == pytest.approx(standard_error(value))
    assert standard_error(value, 6, np.arange(0, 300, 5)) > standard_error(value)


def test_a_missing_date_keeps_its_place() -> None:
    value = np.random.default_rng(0).normal(size=60)
    holed = value.copy()
    holed[20:30] = np.nan
    kept = np.flatnonzero(np.isfinite(holed))
    assert standard_error(holed, 3) == pytest.approx(standard_error(value[kept], 3, kept))
    assert np.isnan(standard_error(np.array([1.0, np.nan]), 3))
