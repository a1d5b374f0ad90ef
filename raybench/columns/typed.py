"""Columns as somebody wrote them -> the types of bars, or an error that names file, row and value.

See ``moments`` (datetimes, instruments) and ``numbers``, which functions on frames use as well.
"""

from __future__ import annotations

from typing import Any

import pyarrow.compute as pc

from raybench.columns import moments
from raybench.columns.moments import NOTHING, STAMP, datetimes, ends, zones
from raybench.columns.numbers import floats, is_number, mostly_numbers

__all__ = ["NOTHING", "STAMP", "datetimes", "ends", "floats", "is_number", "mostly_numbers", "names", "zones"]

_KEPT_AS_TEXT = r"""^(?:'|=")(.*?)"?$"""


def names(column: Any, *, where: str, first_row: int = 0, name: str = "instrument") -> Any:
    """See ``moments.names``; of what Excel keeps as text, ``'000001`` or ``="000001"``, the marks go."""
    found = moments.names(column, where=where, first_row=first_row, name=name)
    return pc.replace_substring_regex(found, _KEPT_AS_TEXT, r"\1")
