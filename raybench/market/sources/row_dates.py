"""The dates of rows that are no bars, feature tables and scores, by the rules that hold for the dates of bars.

R rows. Rows are daily where most instruments have one a date: then they get one clock, that of most rows, as daily bars
do. Dates across a gap that no market leaves are none of its dates. What is odd is said, a line each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raybench.columns import moments
from raybench.columns.types import Moments
from raybench.errors import DataError
from raybench.market.calendar import DAY, infer_frequency
from raybench.market.census import MIN_COVERAGE, Census, Mask
from raybench.market.quality import Findings, clock, found, merge, serious
from raybench.market.sources.clocks import ZoneClocks, check_zones, day_before, differing

Codes = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class RowDates:
    """What the dates of some rows are to become.

    clock : microseconds into its day that every row gets; None where rows keep their own
    left_out : days that are none of the market's, as ISO text
    told : what is odd, a line each
    """

    clock: int | None = None
    left_out: tuple[str, ...] = ()
    told: tuple[str, ...] = ()

    def without(self, days: Sequence[str], where: str) -> RowDates:
        """The same, and dates on which no row says anything left out, too."""
        if not days:
            return self
        line = serious({name: finding.to_json() for name, finding in found("left_out_empty_date", list(days)).items()})
        told = (*self.told, *(f"{where}: {each}" for each in line))
        return replace(self, left_out=tuple(sorted({*self.left_out, *days})), told=told)

    def stamps(self, datetime_R: Moments) -> Moments:
        """The moments as they are to be."""
        if self.clock is None:
            return datetime_R
        return (datetime_R.astype("datetime64[D]") + np.timedelta64(self.clock, "us")).astype("datetime64[us]")

    def kept(self, datetime_R: Moments) -> Mask | None:
        """Which rows stay -> [R]; None: all of them."""
        if not self.left_out:
            return None
        kept_R: Mask = np.isin(
            datetime_R.astype("datetime64[D]"), np.array(self.left_out, "datetime64[D]"), invert=True
        )
        return kept_R


AS_WRITTEN = RowDates()


def look_at_dates(instruments: Any, datetime_R: Moments, zones: ZoneClocks, where: str, *, leave_out: bool) -> RowDates:
    """Look at the dates of rows in any order; DataError for daily rows that say one moment in two ways.

    ``instruments``: an Arrow array of text. ``zones``: of the column as it was written (``clocks.zone_clocks``).
    ``leave_out``: dates astray are to go; else they are said alone, since what the rows are held against decides.
    """
    if not len(datetime_R):
        return AS_WRITTEN
    encoded = moments.flat(instruments).dictionary_encode()
    names, code_R = encoded.dictionary.to_pylist(), encoded.indices.to_numpy().astype(np.int64)
    one, findings = _clock_of(names, code_R, datetime_R, zones, where)
    calendar_T = np.unique(datetime_R)
    frequency = DAY if one is not None else infer_frequency(calendar_T)
    check_zones(zones, frequency, where)
    census = _census(code_R, RowDates(clock=one).stamps(datetime_R))
    astray_D = census.astray()
    stray = "left_out_stray_date" if leave_out else "stray_date"
    days = census.day_D[astray_D]
    sure_T = calendar_T[np.isin(calendar_T.astype("datetime64[D]"), days, invert=True)]
    findings = merge(findings, merge(differing(zones), day_before(zones, frequency, sure_T)))
    findings = merge(findings, found(stray, census.said(astray_D)))
    findings = merge(findings, found("date_with_few_rows", census.said(census.thin(MIN_COVERAGE) & ~astray_D)))
    lines = serious({name: finding.to_json() for name, finding in findings.items()})
    left_out = tuple(map(str, days)) if leave_out else ()
    return RowDates(clock=one, left_out=left_out, told=tuple(f"{where}: {line}" for line in lines))


def _clock_of(
    names: list[str], code_R: Codes, datetime_R: Moments, zones: ZoneClocks, where: str
) -> tuple[int | None, Findings]:
    """The clock of daily rows that do not agree on it, which is that of most, and what is said of the others."""
    day_R = datetime_R.astype("datetime64[D]")
    since_R = (datetime_R - day_R).astype("m8[us]").astype(np.int64)
    clocks, counts = np.unique(since_R, return_counts=True)
    if len(clocks) == 1:
        return None, {}
    dates, at_R = np.unique(day_R, return_inverse=True)
    key_R = code_R * len(dates) + at_R
    keys, rows = np.unique(key_R, return_counts=True)
    if 2 * (rows > 1).sum() >= len(keys):
        return None, {}
    check_zones(zones, DAY, where)
    if (rows > 1).any():
        two = np.flatnonzero(key_R == keys[np.argmax(rows)])
        name, whens = names[code_R[two[0]]], " and ".join(clock(when) for when in np.sort(datetime_R[two])[:2])
        raise DataError(f"{where}: daily rows, but {name} has two on {day_R[two[0]]}, {whens}; want one")
    one = int(clocks[np.argmax(counts)])
    other = np.flatnonzero(since_R != one)
    other = other[np.lexsort((datetime_R[other], code_R[other]))]
    return one, found("clock_differs", [f"{names[code_R[i]]} {clock(datetime_R[i])}" for i in other])


def _census(code_R: Codes, datetime_R: Moments) -> Census:
    """Who has rows when."""
    calendar_T, at_R = np.unique(datetime_R, return_inverse=True)
    census = Census(calendar_T, {})
    code_K, at_K = np.divmod(np.unique(code_R * len(calendar_T) + at_R), len(calendar_T))
    for positions in np.split(at_K, np.flatnonzero(np.diff(code_K)) + 1):
        census.add("", positions)
    return census
