"""From periods to years, and how certain a mean is: what calendar and label say of a row of figures.

Shapes: T datetimes with a figure each, L datetimes of the calendar, sorted. NaN rule: a NaN takes no part.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TRADING_DATES, ALL_DATES = 252, 365  # a year of daily bars: five dates a week (as Qlib takes it), or seven
DAYS_PER_YEAR = 365.25
_SELDOM = 0.2  # of what the fullest weekday has: a session now and then on a Saturday makes no week of six dates
_A_WEEK = 5.0  # days from one date to the next, at most, for there to be several a week


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How figures of single datetimes become those of a year.

    Attributes
    ----------
    periods_per_year : bars that the calendar has in a year; 252 for daily bars, as Qlib takes it
    holding : bars that a label is held for; labels of neighbouring datetimes share one bar less
    """

    periods_per_year: int = TRADING_DATES
    holding: int = 1

    @property
    def factor(self) -> float:
        """What a mean is multiplied with: how often a year a label can be earned, one after another."""
        return self.periods_per_year / self.holding


def periods_per_year(calendar_L: NDArray[np.datetime64]) -> int:
    """Count the bars of a year.

    Daily bars have 252 where the week has up to five dates (whatever the holidays and gaps, as in Qlib) and 365
    where it has seven. Bars further apart than that have as many as their usual distance fits into a year (52
    weeks, 12 months). Several bars a date are counted, by the mean of the whole weeks in which there are any.

    >>> dates_L = np.arange("2020-01-01", "2021-01-01", dtype="datetime64[D]")
    >>> periods_per_year(dates_L), periods_per_year(dates_L[np.is_busday(dates_L)]), periods_per_year(dates_L[::7])
    (365, 252, 52)
    """
    date_D, bars_D = np.unique(calendar_L.astype("datetime64[D]"), return_counts=True)
    if len(date_D) < 2:
        return TRADING_DATES * int(bars_D.sum() or 1)
    distance = float(np.median(np.diff(date_D).astype(np.int64)))
    if distance > _A_WEEK:
        return max(1, round(DAYS_PER_YEAR / distance)) * round(float(np.median(bars_D)))
    # 1970-01-01 was a Thursday: +3 counts weekdays from Monday
    day_D = date_D.astype(np.int64) + 3
    on_weekday = np.bincount(day_D % 7, weights=bars_D, minlength=7)
    weekdays = int((on_weekday > _SELDOM * on_weekday.max()).sum())
    daily = np.median(bars_D) == 1 and distance == 1.0
    if daily and weekdays != 6:
        return ALL_DATES if weekdays == 7 else TRADING_DATES
    in_week = np.bincount(day_D // 7 - day_D[0] // 7, weights=bars_D)
    whole = in_week[1:-1][in_week[1:-1] > 0]
    bars_per_week = float(whole.mean()) if whole.size else weekdays * float(np.median(bars_D))
    return max(1, round(bars_per_week * DAYS_PER_YEAR / 7.0))


def standard_error(value_T: NDArray[np.float64], holding: int = 1, place_T: NDArray[np.int64] | None = None) -> float:
    """Standard error of the mean; NaN with fewer than two values.

    Labels that are held for several bars overlap, so neighbours are alike and there is less news in them than
    their number says: the covariances of values fewer than ``holding`` bars apart are counted with weights that
    fall to zero at ``holding`` (Newey and West 1987, lag ``holding - 1``). ``place_T`` says at which bar of the
    calendar each value stands, in rising order (default: one after another).

    >>> round(standard_error(np.array([0.1, 0.3, np.nan, 0.2])), 6), standard_error(np.array([0.1]))
    (0.057735, nan)
    """
    known_T = np.isfinite(value_T)
    count = int(known_T.sum())
    if count < 2:
        return float("nan")
    place_T = np.arange(len(value_T)) if place_T is None else place_T
    centred = value_T[known_T] - value_T[known_T].mean()
    at = place_T[known_T] - place_T[known_T][0]
    on_calendar = np.zeros(int(at[-1]) + 1)
    on_calendar[at] = centred
    total = float(centred @ centred)
    for lag in range(1, min(holding, len(on_calendar))):
        total += 2.0 * (1.0 - lag / holding) * float(on_calendar[lag:] @ on_calendar[:-lag])
    return math.sqrt(max(total, 0.0) / (count - 1) / count)
