"""Oddities of bars that are counted and named, never repaired: that is how the world is.

Each check looks at single rows [R] of a block; NaN takes no part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raybench.market.bars import BarBlock
from raybench.reports.text import numbered

EXAMPLES = 3
PRICES = ("open", "high", "low", "close")
ROW_FINDINGS = (
    "non_positive_price",
    "infinite_value",
    "negative_volume",
    "high_below_low",
    "close_outside_low_high",
)
"""What `check` finds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """How often something was found, and up to ``EXAMPLES`` places where."""

    count: int
    examples: tuple[str, ...]

    def __add__(self, other: Finding) -> Finding:
        examples = (self.examples + other.examples)[:EXAMPLES]
        return Finding(count=self.count + other.count, examples=examples)

    def to_json(self) -> dict[str, Any]:
        return {"count": self.count, "examples": list(self.examples)}


Findings = Mapping[str, Finding]


def found(name: str, places: list[str]) -> Findings:
    """One kind of finding at these places; none at all without a place."""
    return {name: Finding(count=len(places), examples=tuple(places[:EXAMPLES]))} if places else {}


def merge(left: Findings, right: Findings) -> Findings:
    """Both together, by name."""
    return {
        name: left[name] + right[name] if name in left and name in right else (left.get(name) or right[name])
        for name in sorted({*left, *right})
    }


def check(block: BarBlock) -> Findings:
    """What is odd about the rows of a block."""
    counted = {name: mask_R for name, mask_R in _masks(block).items() if mask_R.any()}
    return {name: _finding(block, mask_R) for name, mask_R in sorted(counted.items())}


def _masks(block: BarBlock) -> dict[str, NDArray[np.bool_]]:
    fields = block.fields
    nowhere_R = np.zeros(block.rows, dtype=bool)
    with np.errstate(invalid="ignore"):
        open_low = [fields[name] <= 0 for name in PRICES if name in fields]
        masks = {
            "non_positive_price": np.logical_or.reduce([nowhere_R, *open_low]),
            "infinite_value": np.logical_or.reduce([nowhere_R, *map(np.isinf, fields.values())]),
        }
        if "volume" in fields:
            masks["negative_volume"] = fields["volume"] < 0
        if {"high", "low"} <= fields.keys():
            masks["high_below_low"] = fields["high"] < fields["low"]
        if {"high", "low", "close"} <= fields.keys():
            close_R = fields["close"]
            masks["close_outside_low_high"] = (close_R > fields["high"]) | (close_R < fields["low"])
    return masks


def _finding(block: BarBlock, mask_R: NDArray[np.bool_]) -> Finding:
    rows = np.flatnonzero(mask_R)
    owners = np.searchsorted(block.start_N1, rows[:EXAMPLES], side="right") - 1
    examples = (f"{block.instruments[int(i)]} {clock(block.datetime_R[r])}" for i, r in zip(owners, rows, strict=False))
    return Finding(count=len(rows), examples=tuple(examples))


_SERIOUS = {
    "left_out_date_with_few_bars": "date|dates left out of the calendar, for hardly anybody has a bar then "
    "(raybench import --calendar FILE says which count, --min-date-coverage 0 keeps all)",
    "left_out_date_filled_forward": "date|dates left out of the calendar, for all bars then repeat the ones before, as "
    "filling forward leaves weekends and holidays (raybench import --calendar FILE says which count)",
    "left_out_row": "row|rows left out with such dates",
    "left_out_date_without_bars": "date|dates left out of the calendar, for nobody has a bar then",
    "left_out_moment_without_bars": "moment|moments left out of the calendar, for nobody has a bar then",
    "row_off_calendar": "row|rows left out, whose date|dates the calendar given does not list",
    "left_out_instrument": "instrument|instruments left out, who has|have no row on the calendar",
    "date_with_few_bars": "date|dates of the calendar on which hardly anybody has a bar",
    "date_filled_forward": "Saturday or Sunday|Saturdays and Sundays of the calendar on which all bars repeat the "
    "ones before, as filling forward leaves them",
    "date_without_bars": "date|dates of the calendar on which nobody has a bar",
    "weekday_without_bars": "weekday|weekdays without bars between two that have some, first and last: holidays, or "
    "dates that are missing (raybench import --market NAME tells which)",
    "weekday_before_new_dates": "weekday|weekdays before the new dates on which nobody has a bar: a holiday, or is a "
    "delivery missing? (raybench import --market NAME tells)",
    "session_without_bars": "date|dates on which the exchange (--market) was open and nobody has a bar: "
    "windows reach over it|them as if it|they had not been",
    "date_without_session": "date|dates of the calendar on which the exchange (--market) was closed",
    "long_gap": "gap|gaps in the calendar far longer than a market is closed, over which rows count as "
    "neighbours; is a "
    "date wrong?",
    "newest_date_incomplete": "newest date on which fewer than half have a bar; is the delivery complete?",
    "newest_date_filled_forward": "newest date on which fewer than half have a bar that is not the one before "
    "again; is it filled forward for what is still to come?",
    "date_on_weekend": "date|dates on a Saturday or Sunday, where the others are weekdays, kept (raybench import "
    "--market NAME tells which are dates of the exchange, --calendar FILE says which count)",
    "moment_with_few_bars": "moment|moments at which hardly anybody has a bar, at a time of day that other dates lack, "
    "kept: in windows it|each is one step of everybody's (raybench import --calendar FILE says which dates count)",
    "non_positive_price": "row|rows with a price that is zero or below, kept as it|they is|are",
    "infinite_value": "row|rows with an infinite value",
    "negative_volume": "row|rows with a volume below zero, kept as it|they is|are",
    "high_below_low": "row|rows whose high is below the low",
    "field_starts_apart": "field|fields that does|do not start with the others of the instrument; is a file shifted?",
    "left_out_stray_date": "date|dates left out, across a gap far longer than a market is closed, on which few have a "
    "row; is a date wrong?",
    "left_out_empty_date": "date|dates left out, on which no row has a number in any column",
    "stray_date": "date|dates across a gap far longer than a market is closed, on which few have a row; "
    "is a date wrong?",
    "date_with_few_rows": "date|dates on which hardly anybody has a row, kept",
    "clock_differs": "daily row|rows with another clock than the rest, taken as of the same date",
    "names_differ_in_case": "name|names that differs|differ in case only, kept as instruments of their own; one "
    "may be meant",
    "names_spelt_alike": "name|names that differs|differ from others in marks or zeros in front only, kept as "
    "instruments of their own; one may be meant",
    "member_spelt_otherwise": "member|members of a universe without bars, while the bars have one who differs in marks "
    "or zeros in front only; spell both alike",
    "column_of_several": "column|columns of text that says|say several things in a file named after one instrument; "
    "where one names the instruments, say so with --columns THEIRS=instrument",
    "left_out_file": "file|files not read, by the end of the name, but looking like data "
    "(--format csv reads .txt and .tsv too)",
    "left_out_other_case": "file|files or folder|folders left out, beside one of the same name in lower case, "
    "which Qlib reads too",
    "raw_beside_factor": "instrument|instruments whose prices jump where their factor steps, so prices are not "
    "adjusted "
    "(raybench import --adjust factor does it)",
    "raw_beside_adjusted_close": "instrument|instruments whose close is not the adjusted close, so prices are "
    "not adjusted "
    '(raybench import --adjust "Adj Close", or what the field is called, does it)',
    "adjusted_twice": "instrument|instruments whose prices jump with their factor: adjusted twice, or by a "
    "factor that is meant "
    "the other way round",
    "overnight_jump": "jump|jumps overnight to about half or double, or further; are the prices adjusted for splits? "
    "(raybench import --adjust FIELD does it by a field of factors)",
    "row_without_factor": "row|rows left without values, which has|have a price and no factor to adjust it by",
    "day_before_session": "date|dates of daily rows with a clock that is midnight in a zone further east: "
    "it|they names|name the day "
    "before the session's; bring datetimes to the zone of the exchange first (in pandas: "
    '.dt.tz_convert("Asia/Shanghai"), or the zone that it is)',
    "offsets_differ": "row|rows with another offset from UTC than the rest, kept as the clocks there show them",
}


def serious(findings: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    """A line for each finding, as the metadata has them, that may move windows or labels."""
    lines = []
    for name, text in _SERIOUS.items():
        if name in findings:
            count, examples = findings[name]["count"], list(findings[name]["examples"])
            lines.append(f"{numbered(count, text)}: {', '.join(examples)}{', ...' if count > len(examples) else ''}")
    return tuple(lines)


def loud(findings: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    """The lines of `serious` that are said unasked: every market has weekdays on which it is closed."""
    return serious({name: finding for name, finding in findings.items() if name != "weekday_without_bars"})


def clock(when: np.datetime64) -> str:
    """A moment for people: the date alone when it is a midnight."""
    text = str(when.astype("datetime64[s]")).replace("T", " ")
    return text.removesuffix(" 00:00:00")
