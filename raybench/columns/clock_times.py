"""Times of day in a column of their own, beside a column of dates -> datetimes.

A time is 9:30, 09:30:00, with fractions, a zone, or of a type for times; 0930 and 093000 are times where they are text
of four or six digits. Numbers are not: 930 and 93000 could be either.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from raybench.columns import moments
from raybench.columns.types import Moments
from raybench.errors import DataError

_TIME = r"^\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?: ?(?:Z|UTC|GMT|[+-]\d{2}:?(?:\d{2})?))?$|^\d{4}(?:\d{2})?$"


def is_clock(column: Any) -> bool:
    """Whether most of what a column holds are times of day, and it holds any."""
    values = moments.flat(column)
    if pa.types.is_time(values.type):
        return bool(len(values) > values.null_count)
    if not pa.types.is_string(values.type):
        return False
    written = moments.blank(pc.utf8_trim_whitespace(values))
    share = pc.mean(pc.match_substring_regex(written, _TIME)).as_py()
    return share is not None and share >= 0.5


def joined(days: Any, clocks: Any, *, where: str, name: str, first_row: int = 0) -> Moments:
    """Datetimes of dates and times; ``name`` is that of the column of times. DataError names a row without either."""
    day_R = moments.datetimes(days, where=where, first_row=first_row)
    if (day_R != day_R.astype("datetime64[D]")).any():
        raise DataError(f"{where}: the dates have times of their own beside the column {name}; leave one of them out")
    written = pc.utf8_trim_whitespace(moments.flat(clocks).cast(pa.string()))
    written = pc.replace_substring_regex(moments.blank(written), r"^(\d{2})(\d{2})$", r"\1:\2")
    written = pc.replace_substring_regex(written, r"^(\d{2})(\d{2})(\d{2})$", r"\1:\2:\3")
    stamped = pc.binary_join_element_wise("1970-01-01", written, " ")
    since_R = moments.datetimes(stamped, where=where, first_row=first_row, name=name)
    found_R: Moments = day_R + (since_R - np.datetime64("1970-01-01", "us"))
    return found_R
