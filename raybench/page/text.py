"""Names that somebody else chose (instruments, columns, labels, paths) as text that a page or a figure can show.

Such a name may hold anything: tags, dollar signs, control characters, marks that turn the direction of writing.
Letters of any script stay: a browser has fonts for them.
"""

from __future__ import annotations

import html
import unicodedata

_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
INSTEAD = "\N{REPLACEMENT CHARACTER}"


def printable(text: object, most: int | None = None) -> str:
    """Text with what cannot be seen replaced, and of ``most`` characters at most."""
    seen = "".join(INSTEAD if unicodedata.category(letter) in _UNSEEN else letter for letter in str(text))
    return seen if most is None or len(seen) <= most else seen[: most - 1] + "…"


def to_text(text: object) -> str:
    """Text as it stands in HTML, also within an attribute."""
    return html.escape(printable(text), quote=True)
