"""Which dates an exchange is open on, as `exchange_calendars` knows them, and what a calendar of bars makes of them.

D dates. Nothing is repaired: a session without bars and a date that is none are named and counted.
"""

from __future__ import annotations

import warnings
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np

from raybench.columns.types import Moments
from raybench.errors import DataError, in_one_line
from raybench.market.calendar import Dates, no_dates
from raybench.market.quality import Findings, found, merge

WEEKS = np.timedelta64(21, "D")  # no exchange is closed for longer; before and after such a gap nothing is recorded
CLOSED = timedelta(days=21)  # as long as the longest holidays
MARKETS = "XSHG, XNYS, 24/7"


def last_closed(name: str, now: datetime) -> date | None:
    """The newest session of an exchange that has closed by ``now`` (with its zone); None if none is recorded."""
    exchanges = _exchanges()
    check_market(name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what pandas is going to change
            low = exchanges.get_calendar(name).bound_min()
            start = (now - CLOSED).date() if low is None else max((now - CLOSED).date(), low.date())
            if start > now.date():
                return None
            closes = exchanges.get_calendar(name, start=str(start)).closes
    except (ValueError, exchanges.errors.CalendarError) as error:
        raise DataError(f"--market {name}: {in_one_line(error)}") from None
    day_D: list[date] = closes.index[closes <= now].date.tolist()
    return day_D[-1] if day_D else None


def check_market(name: str, key: str = "--market") -> str:
    """The name of an exchange that is known; DataError for another, which names the ``key`` it was given by."""
    known = _exchanges().get_calendar_names()
    if name not in known:
        raise DataError(f"{key} {name}: is no exchange that exchange_calendars knows; want one such as {MARKETS}")
    return name


def sessions(name: str, first: np.datetime64, last: np.datetime64) -> Dates:
    """The dates from ``first`` to ``last`` on which an exchange is open -> datetime64[D] [D].

    As far as they are known: holidays before or after what was recorded are not.
    """
    exchanges = _exchanges()
    begin, end = first.astype("datetime64[D]"), last.astype("datetime64[D]")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what pandas is going to change
            known = exchanges.get_calendar(name)
            low, high = known.bound_min(), known.bound_max()  # of what was recorded, where anybody wrote that down
            begin = begin if low is None else max(begin, np.datetime64(low, "D"))
            end = end if high is None else min(end, np.datetime64(high, "D"))
            if begin > end:
                return no_dates()
            opened = exchanges.get_calendar(name, start=str(begin), end=str(end))
            days: Dates = opened.sessions.to_numpy().astype("datetime64[D]")
    except (ValueError, exchanges.errors.CalendarError) as error:
        raise DataError(f"--market {name}: {in_one_line(error)}") from None
    inside: Dates = days[(days >= begin) & (days <= end)]
    return inside


def session_findings(name: str, calendar_T: Moments, after: np.datetime64 | None = None) -> Findings:
    """Sessions that a calendar lacks between its first date and its last, and dates of it that are no sessions.

    ``after``: only later ones than this.
    """
    days = np.unique(calendar_T.astype("datetime64[D]"))
    if after is not None:
        days = days[days >= after.astype("datetime64[D]")]
    if not len(days):
        return {}
    opened = sessions(name, days[0], days[-1])
    if not len(opened):  # nothing is recorded of these
        return {}
    known = days[days >= opened[0] - WEEKS] if opened[0] - days[0] > WEEKS else days
    known = known[known <= opened[-1] + WEEKS] if days[-1] - opened[-1] > WEEKS else known
    missing, closed = np.setdiff1d(opened, days), np.setdiff1d(known, opened)
    if after is not None:
        closed = closed[closed > after.astype("datetime64[D]")]
    return merge(
        found("session_without_bars", [str(day) for day in missing]),
        found("date_without_session", [str(day) for day in closed]),
    )


def _exchanges() -> Any:
    import exchange_calendars  # two seconds, which imports without a market do without

    return exchange_calendars
