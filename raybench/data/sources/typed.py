"""Columns as somebody wrote them -> the types of bars, or an error that names file, row and value.

Datetimes become datetime64[us] without a zone. One with a zone keeps the time that clocks show there: bars
are in the time of their exchange. Numbers become float32; empty cells and the usual words for nothing
(nan, null, none, na, n/a) become NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from raybench.data.calendar import Floats, Moments
from raybench.data.parquet import wall_time
from raybench.errors import DataError

NOTHING = ("", "nan", "null", "none", "na", "n/a", "<na>", "nat")
_NUMBER = r"(?i)^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$|^[+-]?inf(inity)?$"
STAMP = pa.timestamp("us")
_OFFSET = r":\d{2}(?:\.\d+)? ?(?P<offset>Z|[+-]\d{2}:?(?:\d{2})?)$"
# what ISO 8601 leaves out, brought into its form: the pattern and what replaces it
_DATE_FORMS = (
    (r"^(\d{4})[/.](\d{1,2})[/.](\d{1,2})", r"\1-\2-\3"),
    (r"^(\d{4})(\d{2})(\d{2})( |T|$)", r"\1-\2-\3\4"),
    (r"^(\d{4})-(\d)-", r"\1-0\2-"),
    (r"^(\d{4}-\d{2})-(\d)( |T|$)", r"\1-0\2\3"),
    (r"( |T)(\d):", r"\10\2:"),
    (r"(:\d{2}(?:\.\d+)?) ?(?:Z|[+-]\d{2}:?(?:\d{2})?)$", r"\1"),
)


def names(column: Any, *, where: str, first_row: int = 0, name: str = "instrument") -> Any:
    """Instruments (or whatever column ``name`` holds the names of) as an Arrow string column without nulls."""
    if not _is_text(column.type) and not pa.types.is_integer(column.type):
        raise DataError(f"{where}: column {name} is of type {column.type}; want text")
    texts = _flat(column).cast(pa.string())
    texts = pc.utf8_trim_whitespace(texts)
    empty = pc.fill_null(pc.equal(texts, ""), True)
    if pc.any(empty).as_py():
        row = first_row + pc.index(empty, True).as_py() + 1
        raise DataError(f"{where}: row {row} has no {name}")
    return texts


def datetimes(column: Any, *, where: str, first_row: int = 0, row: str = "row") -> Moments:
    """Moments from timestamps, dates, text, or whole numbers like 20200131."""
    values = _flat(column)
    if pa.types.is_timestamp(values.type) or pa.types.is_date(values.type):
        stamps = pc.cast(wall_time(values), STAMP, safe=False)
    else:
        texts = pc.utf8_trim_whitespace(values.cast(pa.string()))
        stamps = _parse(texts, _stamps, "a date (YYYY-MM-DD, with HH:MM:SS if wanted)", where, first_row, row)
    if stamps.null_count:
        at = pc.index(pc.is_null(stamps), True).as_py()
        raise DataError(f"{where}: {row} {first_row + at + 1} has no datetime")
    return np.asarray(stamps.to_numpy(zero_copy_only=False)).astype("datetime64[us]", copy=False)


def offsets(column: Any) -> dict[str, int]:
    """How many rows name which zone or offset from UTC, ``none`` among them; nothing where no row names one."""
    values = _flat(column)
    if pa.types.is_timestamp(values.type):
        return {values.type.tz: len(values)} if values.type.tz is not None else {}
    if not _is_text(values.type):
        return {}
    named = pc.extract_regex(pc.utf8_trim_whitespace(values.cast(pa.string())), _OFFSET)
    if named.null_count == len(named):
        return {}
    counts = pc.value_counts(pc.fill_null(pc.struct_field(named, "offset"), "none"))
    return {each["values"].as_py(): each["counts"].as_py() for each in counts}


def floats(column: Any, name: str, *, where: str, first_row: int = 0) -> Floats:
    """Numbers as float32, NaN for nothing."""
    values = _flat(column)
    if _is_text(values.type):
        what = f"a number in column {name}"
        values = _parse(values.cast(pa.string()), _numbers, what, where, first_row, "row")
    elif not is_number(values.type):
        raise DataError(f"{where}: column {name} is of type {values.type}; want numbers")
    numbers = pc.fill_null(pc.cast(values, pa.float64(), safe=False), np.nan)
    with np.errstate(over="ignore"):  # beyond float32: infinite, and counted as such later
        return np.asarray(numbers.to_numpy(zero_copy_only=False)).astype(np.float32)


def is_number(kind: Any) -> bool:
    """Whether a column of this Arrow type can be a field."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def mostly_numbers(column: Any) -> bool | None:
    """Whether at least half of what a text column says is numbers, so that the rest must be mistakes.

    None if it says nothing.
    """
    said = pc.drop_null(_blank(pc.utf8_trim_whitespace(_flat(column))))
    if len(said) == 0:
        return None
    numbers = pc.sum(pc.match_substring_regex(said, _NUMBER)).as_py()
    return bool(2 * numbers >= len(said))


def _is_text(kind: Any) -> bool:
    inner = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(inner) or pa.types.is_large_string(inner) or pa.types.is_null(inner))


def _flat(column: Any) -> Any:
    """One array without dictionary, from a list of text, an array or a chunked array."""
    if isinstance(column, list):
        return pa.array(column, pa.string())
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _stamps(texts: Any) -> Any:
    texts = _blank(texts)
    try:
        return pc.cast(texts, STAMP)
    except pa.ArrowInvalid:
        for pattern, form in _DATE_FORMS:
            texts = pc.replace_substring_regex(texts, pattern, form)
        return pc.cast(texts, STAMP)


def _numbers(texts: Any) -> Any:
    try:
        return pc.cast(texts, pa.float64())
    except pa.ArrowInvalid:
        return pc.cast(_blank(pc.utf8_trim_whitespace(texts)), pa.float64())


def _blank(texts: Any) -> Any:
    """Null for the usual words for nothing."""
    return pc.if_else(pc.is_in(pc.utf8_lower(texts), pa.array(NOTHING)), None, texts)


def _parse(texts: Any, parse: Callable[[Any], Any], want: str, where: str, first_row: int, row: str) -> Any:
    try:
        return parse(texts)
    except pa.ArrowInvalid:
        at = _first_failing(texts, parse)
        raise DataError(f"{where}: {row} {first_row + at + 1}: {texts[at].as_py()!r} is not {want}") from None


def _first_failing(texts: Any, parse: Callable[[Any], Any]) -> int:
    """By halving: ``texts`` as a whole fails."""
    low, high = 0, len(texts)
    while high - low > 1:
        middle = (low + high) // 2
        try:
            parse(texts.slice(low, middle - low))
        except pa.ArrowInvalid:
            high = middle
        else:
            low = middle
    return low
