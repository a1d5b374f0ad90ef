"""Oddities of bars that are counted and named, never repaired: that is how the world is.

Each check looks at single rows [R] of a block; NaN takes no part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raybench.data.bars import BarBlock

EXAMPLES = 3
PRICES = ("open", "high", "low", "close")


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
    "left_out_date_with_few_bars": "dates left out of the calendar, for hardly anybody has a bar on them "
    "(--calendar FILE says which count, --min-date-coverage 0 keeps all)",
    "left_out_row": "rows left out with them",
    "left_out_date_without_bars": "dates left out of the calendar, for nobody has a bar on them",
    "left_out_moment_without_bars": "moments left out of the calendar, for nobody has a bar then",
    "row_off_calendar": "rows left out, whose dates the calendar given does not list",
    "left_out_instrument": "instruments left out, who have no row on the calendar",
    "date_with_few_bars": "dates of the calendar on which hardly anybody has a bar",
    "date_without_bars": "dates of the calendar on which nobody has a bar",
    "newest_date_incomplete": "newest date on which fewer than half have a bar; is the delivery complete?",
    "field_starts_apart": "fields that do not start with the others of their instrument; is a file shifted?",
    "clock_differs": "rows of daily bars with another clock than the rest, taken as bars of their date",
    "names_differ_in_case": "names that differ in case only, kept as instruments of their own; one may be meant",
    "left_out_other_case": "files or folders left out, beside one of the same name in lower case, which Qlib reads too",
    "raw_beside_factor": "instruments whose prices jump where their factor steps, so they are not adjusted "
    "(--adjust factor does it)",
    "raw_beside_adjusted_close": "instruments whose close is not their adjusted close, so prices are not adjusted "
    '(--adjust "Adj Close", or what the field is called, does it)',
    "adjusted_twice": "instruments whose prices jump with their factor: adjusted twice, or by a factor that is meant "
    "the other way round",
    "overnight_jump": "jumps overnight to about half or double, or further; are the prices adjusted for splits? "
    "(--adjust FIELD does it by a field of factors)",
    "row_without_factor": "rows left without values, which have a price and no factor to adjust it by",
    "offsets_differ": "rows with another offset from UTC than the rest, kept as the clocks there show them",
}


def serious(findings: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    """A line for each finding, as the metadata has them, that may move windows or labels."""
    lines = []
    for name, text in _SERIOUS.items():
        if name in findings:
            count, examples = findings[name]["count"], list(findings[name]["examples"])
            lines.append(f"{count} {text}: {', '.join(examples)}{', ...' if count > len(examples) else ''}")
    return tuple(lines)


def clock(when: np.datetime64) -> str:
    """A moment for people: the date alone when it is a midnight."""
    text = str(when.astype("datetime64[s]")).replace("T", " ")
    return text.removesuffix(" 00:00:00")
