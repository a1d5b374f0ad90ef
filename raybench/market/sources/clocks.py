"""Daily bars whose rows carry different clocks: one stamp for each date, or an error.

A table is daily when its instruments have one row a date. The clock of most rows becomes that of all, so that a row
which a vendor stamped with the moment of its making is not a date of its own.
"""

from __future__ import annotations

import datetime as dt
import itertools
from collections import Counter
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from raybench.columns import epochs, typed
from raybench.columns.types import Moments
from raybench.errors import DataError
from raybench.market.calendar import DAY, infer_frequency
from raybench.market.quality import EXAMPLES, Finding, Findings, clock, found
from raybench.market.sources.spool import Spool
from raybench.reports.text import numbered

Clock = np.timedelta64
ZoneClocks = Counter[tuple[str, int]]
"""Rows by the zone or offset they name, and their time of day in microseconds."""

MICROSECOND = dt.timedelta(microseconds=1)
HOUR = 3_600_000_000
HALF_HOUR, HALF_DAY, DAY_LONG = HOUR // 2, 12 * HOUR, 24 * HOUR


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    """What the clocks of a table say. ``one``: that of every row of daily bars; None where rows keep their own."""

    frequency: str
    one: Clock | None
    findings: Findings

    def stamps(self, datetime_R: Moments) -> Moments:
        """The moments as the calendar has them."""
        if self.one is None:
            return datetime_R
        return (datetime_R.astype("datetime64[D]") + self.one).astype("datetime64[us]")


def read_clocks(spool: Spool, frequency: str | None) -> Clocks:
    """Find out whether bars are daily, unless ``frequency`` says it, and which clock is theirs."""
    spread = np.unique(_clock(spool.calendar))
    if len(spread) == 1 or frequency not in (None, DAY):
        return Clocks(frequency=frequency or infer_frequency(spool.calendar), one=None, findings={})
    rows: Counter[Clock] = Counter()
    dates = several = 0
    for name in spool.instruments:
        datetime_R = spool.moments(name)
        values, counts = np.unique(_clock(datetime_R), return_counts=True)
        rows.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))
        _, counts = np.unique(datetime_R.astype("datetime64[D]"), return_counts=True)
        dates, several = dates + len(counts), several + int((counts > 1).sum())
    if frequency is None and 2 * several >= dates:
        return Clocks(frequency=infer_frequency(spool.calendar), one=None, findings={})
    if several:
        raise DataError(_two_in_a_date(spool))
    most = max(rows.values())
    one = np.timedelta64(min(value for value, count in rows.items() if count == most), "us")
    return Clocks(frequency=DAY, one=one, findings={"clock_differs": _moved(spool, one)})


def zone_clocks(column: Any, datetime_R: Moments) -> ZoneClocks:
    """Of the rows that name a zone, how many name which with which clock; nothing where none does."""
    zone_R = typed.zones(column)
    if zone_R is None:
        return Counter()
    counted = pa.table({"zone": zone_R, "clock": _clock(datetime_R)}).group_by(["zone", "clock"])
    rows = counted.aggregate([([], "count_all")]).to_pylist()
    return Counter({(row["zone"], row["clock"]): row["count_all"] for row in rows})


def differing(zones: ZoneClocks) -> Findings:
    """Where rows differ in their zone or offset: how many are not of the commonest one."""
    rows = _by_zone(zones)
    if len(rows) < 2:
        return {}
    examples = tuple(f"{zone} ({numbered(count, 'row|rows')})" for zone, count in rows.most_common(EXAMPLES))
    return {"offsets_differ": Finding(count=rows.total() - max(rows.values()), examples=examples)}


def check_zones(zones: ZoneClocks, frequency: str, uri: str) -> None:
    """DataError for daily bars whose rows say one moment in two ways, as 00:00+08:00 and 16:00+00:00 do.

    Their clocks would put the bars of one day on two dates.
    """
    names = list(_by_zone(zones))
    for (zone, time), _ in zones.items() if frequency == DAY else ():
        unit = epochs.unit_named(zone)
        if unit is not None and time:
            raise epochs.shifted(time, unit, f"{uri}: column datetime")
    if frequency != DAY or len(names) < 2:
        return
    usual = {zone: max((n, c) for (z, c), n in zones.items() if z == zone)[1] for zone in names}
    known = [(zone, usual[zone], shift) for zone in names if (shift := _shift(zone)) is not None]
    for (zone, clock_a, shift_a), (other, clock_b, shift_b) in itertools.combinations(known, 2):
        apart = ((clock_a - shift_a) - (clock_b - shift_b) + HALF_DAY) % DAY_LONG - HALF_DAY
        if clock_a != clock_b and shift_a != shift_b and abs(apart) <= HOUR:  # summer time moves by one
            a, b = (str(dt.timedelta(microseconds=c)) for c in (clock_a, clock_b))
            raise DataError(
                f"{uri}: daily bars at {a} in {zone} and at {b} in {other}, which is one moment written in two ways "
                "and would be two dates; bring all rows to the zone of their exchange"
            )


def day_before(zones: ZoneClocks, frequency: str, calendar_T: Moments) -> Findings:
    """Daily bars that name the day before their session: midnights of a zone further east, written in one further west.

    Seen where one clock in UTC, in the afternoon, stands for the midnight of some zone; and in any zone or none by
    weeks that run from Sunday to Thursday. A week with Fridays and no Sunday says that the dates are right.
    """
    late_T = calendar_T[_clock(calendar_T) > 0]
    if frequency != DAY or 2 * len(late_T) <= len(calendar_T):
        return {}
    weekdays = set(((late_T.astype("datetime64[D]").astype(np.int64) + 3) % 7).tolist())  # Monday is 0
    sundays, fridays = 6 in weekdays, 4 in weekdays
    in_utc = bool(zones) and all(_shift(zone) == 0 for zone, _ in zones)
    midnight = in_utc and all(time >= HALF_DAY and time % HALF_HOUR == 0 for _, time in zones)
    if (sundays and not fridays) or (midnight and (sundays or not fridays)):
        return found("day_before_session", [clock(when) for when in late_T])
    return {}


def _by_zone(zones: ZoneClocks) -> Counter[str]:
    rows: Counter[str] = Counter()
    for (zone, _), count in zones.items():
        rows[zone] += count
    return rows


def _shift(zone: str) -> int | None:
    """What a zone's winter or a written offset adds to UTC, in microseconds; None if that is not known."""
    try:
        text = "+00:00" if zone == "Z" else zone
        if text[0] in "+-":
            return int(dt.datetime.strptime(text, "%z").utcoffset() / MICROSECOND)  # type: ignore[operator]
        return int(ZoneInfo(text).utcoffset(dt.datetime(2020, 1, 1)) / MICROSECOND)  # type: ignore[operator]
    except (ValueError, KeyError, OSError):
        return None


def _clock(datetime_R: Moments) -> NDArray[np.int64]:
    """The time of day, in microseconds."""
    since_R: NDArray[np.int64] = (datetime_R - datetime_R.astype("datetime64[D]")).astype("m8[us]").astype(np.int64)
    return since_R


def _two_in_a_date(spool: Spool) -> str:
    for name in spool.instruments:
        datetime_R = np.sort(spool.moments(name))
        day_R = datetime_R.astype("datetime64[D]")
        for i in np.flatnonzero(day_R[1:] == day_R[:-1])[:1]:
            files = " and ".join(sorted({o for when in datetime_R[i : i + 2] for o in spool.origins(name, when)}))
            return (
                f"{files}: daily bars, but {name} has two rows on {day_R[i]}, {clock(datetime_R[i])} and "
                f"{clock(datetime_R[i + 1])}; want one, or say what they are with --frequency (such as 60min)"
            )
    raise AssertionError("no two rows in a date")


def _moved(spool: Spool, one: Clock) -> Finding:
    count = 0
    examples: list[str] = []
    for name in spool.instruments:
        datetime_R = spool.moments(name)
        other = datetime_R[_clock(datetime_R) != one.astype(np.int64)]
        count += len(other)
        examples += [f"{name} {clock(when)}" for when in np.sort(other)[: EXAMPLES - len(examples)]]
    return Finding(count=count, examples=tuple(examples))
