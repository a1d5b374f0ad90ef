"""Which dates of a table become its calendar: those of the market, not those of a stray row.

Left out, and said: moments at which nobody has a bar, dates on which hardly anybody has one, and those on which all
bars only repeat the ones before (see `Census`). A list of dates, if one is given, decides alone. Where many dates
are thin the table has two calendars in it, such as stocks beside coins, and nobody but its owner can tell which is
meant: an error.

A table that is added to bars may be a few rows of a market: dates that the bars have stay, whoever has a row here, and
later ones are for the append to judge, beside the bars.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from raybench.columns.types import Moments
from raybench.errors import DataError
from raybench.market.census import HANDFUL, Census, DateRules, Mask
from raybench.market.quality import EXAMPLES, Findings, clock, found, merge
from raybench.market.universe import Universe
from raybench.reports.text import numbered

MANY = 0.05  # of the dates; a handful is never many


class TableRowDates(Protocol):
    """What is asked of a table: when each instrument has rows, in the order of time, and which of them are bars."""

    @property
    def uri(self) -> str: ...
    @property
    def calendar(self) -> Moments: ...
    @property
    def spans(self) -> Mapping[str, range]: ...

    def moments(self, instrument: str) -> tuple[Moments, Mask]: ...

    def repeats(self, instrument: str) -> Mask: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CalendarChoice:
    """The calendar, where each instrument that still has rows lies in it, and what was left out."""

    calendar: Moments
    spans: Mapping[str, range]
    left_out: Moments
    findings: Findings


def settle(
    table: TableRowDates, universes: Mapping[str, Universe], rules: DateRules, there: Moments | None = None
) -> CalendarChoice:
    """The calendar of a table by the rules; DataError if there is none in it, or two.

    ``there``: that of the bars that it is added to.
    """
    census = Census(table.calendar, universes)
    for name in table.spans:
        datetime_R, bar_R = table.moments(name)
        census.add(name, np.searchsorted(table.calendar, datetime_R[bar_R]), table.repeats(name)[bar_R])
    if rules.days is not None:
        return _settled(table, _listed(table, rules, there), {}, "row_off_calendar")
    empty_T, empty_D, thin_D = census.bars_T == 0, census.bars_D == 0, census.thin(rules.min_coverage)
    known_D = np.zeros_like(thin_D)
    if there is not None:
        days = there.astype("datetime64[D]")
        known_D = np.isin(census.day_D, days)
        thin_D &= ~known_D & (census.day_D < days[-1])
        empty_T &= ~np.isin(table.calendar, there)
        empty_D &= ~known_D
    if thin_D.sum() > max(HANDFUL, MANY * (census.bars_D > 0).sum()):
        raise DataError(_two_calendars(table.uri, census, thin_D, rules))
    filled_D = census.filled() & ~thin_D & ~known_D if rules.min_coverage else np.zeros_like(thin_D)
    dates = [str(day) for day in census.day_D[empty_D]]
    moments = [clock(when) for when in table.calendar[empty_T & ~census.of_day(empty_D)]]
    findings = merge(found("left_out_date_without_bars", dates), found("left_out_moment_without_bars", moments))
    findings = merge(findings, found("left_out_date_with_few_bars", census.said(thin_D)))
    findings = merge(findings, found("left_out_date_filled_forward", census.said(filled_D)))
    if empty_T.all():
        raise DataError(f"{table.uri}: has no bars: no row has a price")
    kept_T = ~(empty_T | census.of_day(thin_D | filled_D))
    return _settled(table, table.calendar[kept_T], findings, "left_out_row")


def _settled(table: TableRowDates, calendar_T: Moments, findings: Findings, what: str) -> CalendarChoice:
    """``what`` is the finding for rows with a bar that are not in the calendar."""
    left_out = np.setdiff1d(table.calendar, calendar_T)
    if not len(left_out) and len(calendar_T) == len(table.calendar):
        return CalendarChoice(calendar=table.calendar, spans=table.spans, left_out=left_out, findings=findings)
    spans: dict[str, range] = {}
    rows: list[str] = []
    for name in table.spans:
        datetime_R, bar_R = table.moments(name)
        inside_R = np.isin(datetime_R, left_out, invert=True)
        rows += [f"{name} {clock(when)}" for when in datetime_R[bar_R & ~inside_R]]
        kept_R = datetime_R[inside_R]
        if len(kept_R):
            first, last = np.searchsorted(calendar_T, kept_R[[0, -1]])
            spans[name] = range(int(first), int(last) + 1)
    gone = sorted(set(table.spans) - set(spans))
    findings = merge(findings, merge(found(what, rows), found("left_out_instrument", gone)))
    return CalendarChoice(calendar=calendar_T, spans=spans, left_out=left_out, findings=findings)


def _listed(table: TableRowDates, rules: DateRules, there: Moments | None) -> Moments:
    """The calendar of the dates that are listed, from the first to the last on which there are rows, here or there.

    Daily bars have an entry for each, rows or none. Bars within a day have the moments that occur on them.
    """
    assert rules.days is not None
    day_T = table.calendar.astype("datetime64[D]")
    inside_T: Mask = np.isin(day_T, rules.days)
    if not inside_T.any():
        raise DataError(
            f"{table.uri}: has no row on any of the {numbered(len(rules.days), 'date|dates')} listed (--calendar), "
            f"{rules.days[0]} to {rules.days[-1]}; its own are {day_T[0]} to {day_T[-1]}"
        )
    kept_T = table.calendar[inside_T]
    both = [table.calendar, kept_T if there is None else there]
    if any(len(np.unique(each - each.astype("datetime64[D]"))) > 1 for each in both):
        return kept_T
    ends = np.concatenate([kept_T[[0, -1]], both[1][[0, -1]]]).astype("datetime64[D]")
    days = rules.days[(rules.days >= ends.min()) & (rules.days <= ends.max())]
    stamps: Moments = (days + (kept_T[0] - ends[0])).astype("datetime64[us]")
    return stamps


def _two_calendars(uri: str, census: Census, thin_D: Mask, rules: DateRules) -> str:
    some = ", ".join(census.said(thin_D)[:EXAMPLES])
    return (
        f"{uri}: on {thin_D.sum()} of {numbered(len(thin_D), 'date|dates')} fewer than "
        f"{rules.min_coverage:.0%} of those who could have "
        f"a bar have one: {some}, ...; that looks like two calendars in one: import each of them on its own, list the "
        "dates that count with --calendar FILE, or keep every date with --min-date-coverage 0"
    )
