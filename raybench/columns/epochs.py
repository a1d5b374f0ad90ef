"""Points in time counted from the start of 1970 in UTC, as whole numbers -> timestamps[us].

Which unit a column counts in is told by its magnitude where all of it lies between 1980 and 2100: there the numbers of
seconds, milliseconds, microseconds and nanoseconds do not meet, nor do they meet dates such as 20200102. A count names
a moment and no date: at midnight in Shanghai UTC is still on the day before. So days are taken only if they begin at
midnight in UTC; times within a day are kept as clocks in UTC show them.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from raybench.errors import DataError

UNITS = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_FIRST, _LAST = 315_532_800, 4_102_444_800  # 1980 and 2100, in seconds
_DIGITS = r"^\s*\d{9,19}(?:\.0+)?\s*$"
_ZONE = "UTC ("


def unit_of(values: Any) -> str | None:
    """What a column (whole numbers, or text of them) counts in: s, ms, us or ns; None if it is no such column."""
    counts_R = _counts(values)
    if counts_R is None or counts_R.null_count == len(counts_R):
        return None
    ends = pc.min_max(counts_R).as_py()
    return unit_of_span(ends["min"], ends["max"])


def unit_of_span(low: float, high: float) -> str | None:
    """What counts from ``low`` to ``high`` count in if all of them lie between 1980 and 2100."""
    for unit, per in _PER_SECOND.items():
        if _FIRST * per <= low and high < _LAST * per:
            return unit
    return None


def stamps(values: Any, unit: str, *, where: str, whole: bool) -> Any:
    """The moments as clocks in UTC show them; DataError if ``whole`` values are days that do not begin at midnight."""
    found_R = _counts(values).cast(pa.timestamp(unit))
    found_R = pc.cast(found_R, pa.timestamp("us"), safe=unit != "ns")
    if whole:
        when_R = np.asarray(found_R.drop_null().to_numpy(zero_copy_only=False)).astype("datetime64[us]")
        when_R = np.unique(when_R)
        day_R = np.unique(when_R.astype("datetime64[D]"))
        late_R = (when_R - when_R.astype("datetime64[D]")).astype(np.int64)
        if len(day_R) == len(when_R) and late_R.any():
            raise shifted(int(late_R[late_R > 0][0]), unit, where)
    return found_R


def shifted(microseconds: int, unit: str, where: str) -> DataError:
    """The error for days that do not begin at midnight in UTC: which dates they mean is not known."""
    begin = dt.timedelta(microseconds=microseconds)
    return DataError(
        f"{where} counts {UNITS[unit]} since 1970, and its days begin at {begin} in UTC: "
        f"which date that is depends on the zone of the exchange; write dates, in pandas: pd.to_datetime(column, "
        f'unit="{unit}", utc=True).dt.tz_convert("Asia/Shanghai") or the zone that it is'
    )


def zone(unit: str) -> str:
    """How the zone of such a column is called."""
    return f"{_ZONE}{UNITS[unit]} since 1970)"


def unit_named(zone: str) -> str | None:
    """The unit that a name from ``zone`` tells, None for other zones."""
    return next((unit for unit, name in UNITS.items() if zone == f"{_ZONE}{name} since 1970)"), None)


def _counts(values: Any) -> Any:
    """As int64, null where there is nothing; None where a value is no whole number."""
    kind = values.type
    try:
        if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
            return pc.cast(values, pa.int64())
        if not pa.types.is_string(kind) or not _all_digits(values.slice(0, 1)) or not _all_digits(values):
            return None
        digits = pc.replace_substring_regex(pc.utf8_trim_whitespace(values), r"\.0+$", "")
        return pc.cast(pc.if_else(pc.equal(digits, ""), None, digits), pa.int64())
    except pa.ArrowException:
        return None


def _all_digits(values: Any) -> bool:
    return bool(pc.all(pc.fill_null(pc.match_substring_regex(values, _DIGITS + "|^\\s*$"), True)).as_py())
