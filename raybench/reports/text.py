"""Names that somebody else chose (instruments, columns, labels, paths) as text that a page or a figure can show.

Such a name may hold anything: tags, dollar signs, control characters, marks that turn the direction of writing.
Letters of any script stay: a browser has fonts for them.
"""

from __future__ import annotations

import html
import re
import unicodedata

_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_ONE_OR_MANY = re.compile(r"(\w+)\|(\w+)")
INSTEAD = "\N{REPLACEMENT CHARACTER}"


def printable(text: object, most: int | None = None) -> str:
    """Text with what cannot be seen replaced, and of ``most`` characters at most."""
    seen = "".join(INSTEAD if unicodedata.category(letter) in _UNSEEN else letter for letter in str(text))
    return seen if most is None or len(seen) <= most else seen[: most - 1] + "…"


def to_text(text: object) -> str:
    """Text as it stands in HTML, also within an attribute."""
    return html.escape(printable(text), quote=True)


def numbered(count: int, what: str) -> str:
    """A number and what it counts; of ``one|many`` the word that goes with it, anywhere in a text of ours.

    >>> numbered(1, "date|dates has|have no bars"), numbered(1200, "row|rows")
    ('1 date has no bars', '1,200 rows')
    """
    chosen = _ONE_OR_MANY.sub(r"\1" if count == 1 else r"\2", what)
    return f"{count:,} {chosen}"
