"""Dates as people write them -> a date or a moment: the forms that configurations, options and columns have in common.

2015-01-31, 2015/1/31, 2015.1.31, 20150131 (a number too, 20150131093000 as well), 31-Jan-2015, January 31, 2015, each
with a time behind it or without. A zone is left out: the time that clocks show there counts. Nothing is guessed: not
what is shorter than a date, not a year of two digits, not whether 02/01/2015 has the day or the month in front.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

_ENGLISH = (
    "jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sep(?:t(?:ember)?)?|oct(?:ober)?|"
    "nov(?:ember)?|dec(?:ember)?"
)
NAMED = rf"(?i)(?:{_ENGLISH})"
"""In text that may hold the English name of a month."""

_GAP = r"[-/ .,]*"
# months by name become ~01~, and that a date; for text in which there is one
MONTHS = (
    (r"(?i)^(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*,? +", ""),
    *((rf"(?i){_GAP}(?:{name}){_GAP}", f"~{i:02d}~") for i, name in enumerate(_ENGLISH.split("|"), start=1)),
    (r"^(\d{1,2})(?:st|nd|rd|th)?~(\d{2})~(\d{4})( |T|$)", r"\3-\2-\1\4"),
    (r"^~(\d{2})~(\d{1,2})(?:st|nd|rd|th)?[-/ .,]+(\d{4})( |T|$)", r"\3-\1-\2\4"),
    (r"^(\d{4})~(\d{2})~(\d{1,2})( |T|$)", r"\1-\2-\3\4"),
)
# what ISO 8601 leaves out, brought into its form: the pattern and what replaces it, as RE2 has it (for Arrow)
FORMS = (
    (r"^(\d{4})[/.](\d{1,2})[/.](\d{1,2})", r"\1-\2-\3"),
    (r"^(\d{4})(\d{2})(\d{2})( |T|$)", r"\1-\2-\3\4"),
    (r"^((?:19|20)\d{2})(\d{2})(\d{2})(\d{2})(\d{2})$", r"\1-\2-\3 \4:\5"),
    (r"^((?:19|20)\d{2})(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})$", r"\1-\2-\3 \4:\5:\6"),
    (r"^(\d{4})-(\d)-", r"\1-0\2-"),
    (r"^(\d{4}-\d{2})-(\d)( |T|$)", r"\1-0\2\3"),
    (r"( |T)(\d):", r"\10\2:"),
    (r"(:\d{2}(?:\.\d+)?) ?(?:Z|UTC|GMT|[+-]\d{2}:?(?:\d{2})?)$", r"\1"),
)
WANTED = "a date as YYYY-MM-DD"
_PATTERNS = [(re.compile(pattern), re.sub(r"\\(\d)", r"\\g<\1>", form)) for pattern, form in (*MONTHS, *FORMS)]
_EITHER = re.compile(r"\d{1,2}[/.-]\d{1,2}[/.-]\d{2}(?:\d{2})?(?:$|[ T])")
_SHORT_YEAR = re.compile(rf"{NAMED}[-/ .,]*\d{{2}}$")
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
        raise ValueError(f"{value!r} is not {wanted(str(value).strip())}")
    return dt.datetime.fromisoformat(text)


def wanted(text: str, longer: str = "") -> str:
    """What a date is to look like, and why ``text`` is not read where it looks like one."""
    want = WANTED + longer
    if _EITHER.match(text):
        return f"{want}: whether day, month or year comes first in {text} would be a guess"
    if _SHORT_YEAR.search(text):
        return f"{want}: the century of {text} would be a guess"
    return want
