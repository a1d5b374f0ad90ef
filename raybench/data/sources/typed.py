"""Columns as somebody wrote them -> the types of bars, or an error that names file, row and value.

See ``moments`` (datetimes, instruments) and ``numbers``, which functions on frames use as well.
"""

from __future__ import annotations

from raybench.data.moments import NOTHING, STAMP, datetimes, ends, names, zones
from raybench.data.numbers import floats, is_number, mostly_numbers

__all__ = ["NOTHING", "STAMP", "datetimes", "ends", "floats", "is_number", "mostly_numbers", "names", "zones"]
