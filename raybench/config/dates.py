"""Dates as people write them -> a date or a moment: the forms that configurations, options and columns have in common.

2015-01-31, 2015/1/31, 2015.1.31, 20150131 (a number too), each with a time behind it or without. A zone is left out:
the time that clocks show there counts. Nothing shorter than a date is read, since it would have to be guessed.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

# what ISO 8601 leaves out, brought into its form: the pattern and what replaces it, as RE2 has it (for Arrow)
FORMS = (
    (r"^(\d{4})[/.](\d{1,2})[/.](\d{1,2})", r"\1-\2-\3"),
    (r"^(\d{4})(\d{2})(\d{2})( |T|$)", r"\1-\2-\3\4"),
    (r"^(\d{4})-(\d)-", r"\1-0\2-"),
    (r"^(\d{4}-\d{2})-(\d)( |T|$)", r"\1-0\2\3"),
    (r"( |T)(\d):", r"\10\2:"),
    (r"(:\d{2}(?:\.\d+)?) ?(?:Z|[+-]\d{2}:?(?:\d{2})?)$", r"\1"),
)
WANTED = "a date as YYYY-MM-DD"
_PATTERNS = [(re.compile(pattern), re.sub(r"\\(\d)", r"\\g<\1>", form)) for pattern, form in FORMS]
_FULL = re.compile(r"^\d{4}-\d{2}-\d{2}($|[ T]\d{2})")


def parse_moment(value: Any) -> dt.datetime:
    """Read text, a whole number, a date or a datetime; ValueError for anything else."""
    if isinstance(value, dt.datetime):
        return value.replace(tzinfo=None)
    if isinstance(value, dt.date):
        return dt.datetime(value.year, value.month, value.day)
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise ValueError(f"{value!r} is not {WANTED}")
    text = str(value).strip()
    for pattern, form in _PATTERNS:
        text = pattern.sub(form, text)
    if not _FULL.match(text):
        raise ValueError(f"{value!r} is not {WANTED}")
    return dt.datetime.fromisoformat(text)
