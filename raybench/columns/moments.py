"""Dates and instruments as somebody wrote them -> datetime64[us] without a zone, and text. The one door for both.

Columns (of Arrow, pandas, numpy, or lists) and single values go the same way, whether a command or a function was
given them. A date may be a timestamp of any unit, a date, text, or a number such as 20150131; one with a zone keeps
the time that clocks show there, since bars are in the time of their exchange. Columns may count from 1970: `epochs`.
Cells without anything, and the usual words for it (nan, null, none, na, n/a), are nulls: an error that names the row,
or NaT where an end may be open.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from raybench.columns import epochs
from raybench.columns.types import Moments
from raybench.config.common.dates import FORMS, MONTHS, NAMED, parse_moment, wanted
from raybench.errors import DataError

NOTHING = ("", "nan", "null", "none", "na", "n/a", "<na>", "nat")
STAMP = pa.timestamp("us")
REST_OF_DAY = np.timedelta64(1, "D") - np.timedelta64(1, "us")
"""From a midnight to the last point in time of its day."""
_OFFSET = r":\d{2}(?:\.\d+)? ?(?P<offset>Z|UTC|GMT|[+-]\d{2}:?(?:\d{2})?)$"

_UNSEEN = r"\p{Cc}|\x{200b}|\x{2060}|\x{feff}|\x{ad}"  # controls, blanks without width, a mark of the byte order
_WITH_TIME = " (with HH:MM:SS if wanted)"
Want = str | Callable[[str], str]
"""What was wanted; or what that is, told by what was found."""

Moment = str | int | dt.date | dt.datetime | np.datetime64
"""What one date may be given as."""


# columns


def arrow(values: Any) -> Any:
    """A column of pandas, numpy or a list as one of Arrow, nulls where it has NaN, NaT or None; Arrow's as it is."""
    if isinstance(values, (pa.Array, pa.ChunkedArray)):
        return values
    if str(getattr(values, "dtype", "")).startswith("period"):
        values = values.dt.to_timestamp() if hasattr(values, "dt") else values.to_timestamp()
    try:
        made = pa.array(values, from_pandas=True)
    except (pa.ArrowException, TypeError, ValueError):  # objects of several kinds
        made = None
    if made is None or _zoned_objects(made.type, values):
        return pa.array([_text(value) for value in values], pa.string())
    return made


def flat(column: Any) -> Any:
    """One plain array from an array or a chunked array of any encoding, or from a list."""
    column = arrow(column)
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    return column.cast(pa.string()) if is_text(column.type) else column


def is_text(kind: Any) -> bool:
    """Whether a column of this Arrow type holds text, in any encoding."""
    inner = kind.value_type if pa.types.is_dictionary(kind) else kind
    tests = ("string", "large_string", "string_view", "binary", "large_binary", "binary_view", "null")
    return any(getattr(pa.types, f"is_{name}")(inner) for name in tests)


def texts(column: Any, *, where: str, name: str = "instrument") -> Any:
    """Names as Arrow text without blanks around them, null where there is none; numbers are written out."""
    column = arrow(column)
    inner = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not is_text(inner) and not pa.types.is_integer(inner) and len(column):
        raise DataError(f"{where}: column {name} is of type {column.type}; want text")
    try:
        found = blank(pc.utf8_trim_whitespace(column.cast(pa.string())), words=("",))
    except pa.ArrowException:
        raise DataError(f"{where}: column {name} is not text in UTF-8") from None
    each = pc.unique(found)
    odd = each.filter(pc.fill_null(pc.match_substring_regex(each, _UNSEEN), False))
    if len(odd):
        raise DataError(f"{where}: {odd[0].as_py()!a} in column {name} holds a character that nobody sees; take it out")
    return found


def names(column: Any, *, where: str, first_row: int = 0, name: str = "instrument") -> Any:
    """Instruments (or whatever column ``name`` holds the names of) as an Arrow string array without nulls."""
    found = texts(column, where=where, name=name)
    if found.null_count:
        raise DataError(f"{where}: row {first_row + _first_null(found) + 1} has no {name}")
    return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found


def stamps(
    column: Any, *, where: str, first_row: int = 0, row: str = "row", name: str = "datetime", whole: bool = True
) -> Any:
    """Dates as an Arrow array of timestamps[us] without a zone, null where there is none.

    A column that is not ``whole`` may hold days counted in a zone that is not UTC's, which its reader will find.
    """
    values = flat(column)
    unit = epochs.unit_of(values)
    if unit is not None:
        return epochs.stamps(values, unit, where=f"{where}: column {name}", whole=whole)
    kind = values.type
    try:
        if pa.types.is_timestamp(kind):
            return pc.cast(wall_time(values), STAMP, safe=kind.unit != "ns")  # nanoseconds are cut, others have to fit
        if pa.types.is_date(kind):
            return pc.cast(values, STAMP)
        if pa.types.is_floating(kind) or pa.types.is_decimal(kind):  # whole numbers beside an empty cell
            values = pc.cast(values, pa.int64())
    except pa.ArrowException as error:
        what = " ".join(str(error).split())
        raise DataError(f"{where}: column {name} ({kind}) does not hold dates: {what}") from None
    if not is_text(values.type) and not pa.types.is_integer(values.type) and len(values):
        raise DataError(f"{where}: column {name} is of type {kind}; want dates, or text or numbers such as 20150131")
    written = pc.utf8_trim_whitespace(values.cast(pa.string()))
    return parsed(written, _read, lambda text: wanted(text, longer=_WITH_TIME), where, first_row, row)


def datetimes(
    column: Any, *, where: str, first_row: int = 0, row: str = "row", name: str = "datetime", whole: bool = True
) -> Moments:
    """Dates as datetime64[us]; DataError names the row that has none. ``whole``: see ``stamps``."""
    found = stamps(column, where=where, first_row=first_row, row=row, name=name, whole=whole)
    if found.null_count:
        raise DataError(f"{where}: {row} {first_row + _first_null(found) + 1} has no {name}")
    return _numpy(found)


def ends(column: Any, *, where: str, first_row: int = 0, row: str = "row", name: str = "end") -> Moments:
    """Dates as datetime64[us], NaT where there is none: a span that is still open."""
    return _numpy(stamps(column, where=where, first_row=first_row, row=row, name=name))


def zones(column: Any) -> Any:
    """Which zone or offset from UTC each row names, as Arrow text, ``none`` among them; None where no row names one."""
    values = flat(column)
    unit = epochs.unit_of(values)
    if unit is not None:
        return pa.repeat(epochs.zone(unit), len(values))
    if pa.types.is_timestamp(values.type):
        return None if values.type.tz is None else pa.repeat(values.type.tz, len(values))
    if not is_text(values.type):
        return None
    named = pc.extract_regex(pc.utf8_trim_whitespace(values), _OFFSET)
    if named.null_count == len(named):
        return None
    return pc.fill_null(pc.struct_field(named, "offset"), "none")


def wall_time(column: Any) -> Any:
    """Timestamps with a zone as the wall clock there shows them, without the zone; others unchanged."""
    return pc.local_timestamp(column) if _zoned(column.type) else column


def blank(written: Any, words: tuple[str, ...] = NOTHING) -> Any:
    """Null for the usual words for nothing."""
    return pc.if_else(pc.is_in(pc.utf8_lower(written), pa.array(words)), None, written)


def parsed(written: Any, parse: Callable[[Any], Any], want: Want, where: str, first_row: int, row: str) -> Any:
    """What ``parse`` makes of texts; DataError names the first row that it cannot read."""
    try:
        return parse(written)
    except pa.ArrowInvalid:
        at = _first_failing(written, parse)
        text = written[at].as_py()
        said = want if isinstance(want, str) else want(text)
        raise DataError(f"{where}: {row} {first_row + at + 1}: {text!r} is not {said}") from None


# single values


def moment(when: Moment | None, what: str = "") -> np.datetime64 | None:
    """One date as datetime64[us]; ``what`` is the option that it was given for. DataError if it is none."""
    if when is None:
        return None
    plain: Any = when
    if isinstance(when, np.datetime64):
        plain = when.astype("datetime64[us]")
    if isinstance(plain, np.generic):  # a number or a string of numpy's
        plain = plain.item()
    try:
        return np.datetime64(parse_moment(plain), "us")
    except (ValueError, TypeError):
        named = f"{what} is {when!r}" if what else f"{when!r} is no date"
        raise DataError(f"{named}; want {wanted(str(when).strip())}") from None


def end_moment(when: Moment | None, what: str = "") -> np.datetime64 | None:
    """The last point in time of an inclusive end: a midnight stands for its whole day."""
    stop = moment(when, what)
    return None if stop is None else last_moments(np.array([stop]))[0]


def last_moments(end_K: Moments) -> Moments:
    """The last point in time of inclusive ends [K]: a midnight stands for its whole day; NaT stays."""
    midnight_K = end_K == end_K.astype("datetime64[D]")
    return np.where(midnight_K, end_K + REST_OF_DAY, end_K)


def last_of_day(when: np.datetime64) -> np.datetime64:
    """The last point in time of the day that a moment lies in."""
    end: np.datetime64 = when.astype("datetime64[D]") + REST_OF_DAY
    return end


def day(when: Moment, what: str = "") -> dt.date:
    """One date as a calendar day."""
    found: dt.date = moment(when, what).astype("datetime64[D]").item()  # type: ignore[union-attr]
    return found


def _read(written: Any) -> Any:
    written = blank(written)
    try:
        return pc.cast(written, STAMP)
    except pa.ArrowInvalid:
        written = pc.replace_substring_regex(written, r"^(\d{8})\.0+$", r"\1")  # a number beside an empty cell
        by_name = pc.any(pc.match_substring_regex(written, NAMED)).as_py()
        for pattern, form in (*MONTHS, *FORMS) if by_name else FORMS:
            written = pc.replace_substring_regex(written, pattern, form)
        return pc.cast(written, STAMP)


def _zoned(kind: Any) -> bool:
    return bool(pa.types.is_timestamp(kind) and kind.tz is not None)


def _zoned_objects(kind: Any, values: Any) -> bool:
    """Whether these are objects with zones, which may differ: Arrow would bring them to the clocks of the first."""
    return _zoned(kind) and not hasattr(getattr(values, "dtype", None), "tz")


def _text(value: Any) -> str | None:
    text = str(value)
    return None if value is None or (text.lower() in NOTHING and not isinstance(value, str)) else text


def _first_null(column: Any) -> int:
    return int(pc.index(pc.is_null(column), True).as_py())


def _numpy(found: Any) -> Moments:
    return np.asarray(found.to_numpy(zero_copy_only=False)).astype("datetime64[us]", copy=False)


def _first_failing(written: Any, parse: Callable[[Any], Any]) -> int:
    """By halving: ``written`` as a whole fails."""
    low, high = 0, len(written)
    while high - low > 1:
        middle = (low + high) // 2
        try:
            parse(written.slice(low, middle - low))
        except pa.ArrowInvalid:
            high = middle
        else:
            low = middle
    return low
