"""Columns of numbers as somebody wrote them -> float32, NaN for nothing.

Numbers may be of any type that Arrow has, Decimal, text, or Python objects of several kinds; empty cells and the
usual words for nothing are NaN.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from raybench.columns.moments import NOTHING, blank, flat, is_text, parsed
from raybench.columns.types import Floats
from raybench.errors import DataError

_NO_NUMBER = (*NOTHING, "-", "--")
_NUMBER = r"(?i)^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$|^[+-]?inf(inity)?$"


def floats(column: Any, name: str, *, where: str, first_row: int = 0) -> Floats:
    """Numbers as float32, NaN for nothing; DataError names the row of what is no number."""
    with np.errstate(over="ignore"):  # beyond float32: infinite, and counted as such later
        return doubles(column, name, where=where, first_row=first_row).astype(np.float32)


def doubles(column: Any, name: str, *, where: str, first_row: int = 0) -> NDArray[np.float64]:
    """Numbers as float64, otherwise like ``floats``."""
    values = flat(column)
    if is_text(values.type):
        values = parsed(values, _read, f"a number in column {name}", where, first_row, "row")
    elif not is_number(values.type):
        raise DataError(f"{where}: column {name} is of type {values.type}; want numbers")
    found = pc.fill_null(pc.cast(values, pa.float64(), safe=False), np.nan)
    return np.asarray(found.to_numpy(zero_copy_only=False))


def is_number(kind: Any) -> bool:
    """Whether a column of this Arrow type can be a field."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def mostly_numbers(column: Any) -> bool | None:
    """Whether at least half of what a text column says is numbers, so that the rest must be mistakes.

    None if it says nothing.
    """
    said = pc.drop_null(blank(pc.utf8_trim_whitespace(flat(column).cast(pa.string())), _NO_NUMBER))
    if len(said) == 0:
        return None
    numbers = pc.sum(pc.match_substring_regex(said, _NUMBER)).as_py()
    return bool(2 * numbers >= len(said))


def _read(written: Any) -> Any:
    try:
        return pc.cast(written, pa.float64())
    except pa.ArrowInvalid:
        return pc.cast(blank(pc.utf8_trim_whitespace(written), _NO_NUMBER), pa.float64())
