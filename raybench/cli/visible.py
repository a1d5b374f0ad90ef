"""Text for a terminal: what would move, colour or reverse it is shown as an escape.

Names of instruments, columns and files are somebody's data. Control and format characters in them (a new line, the
start of a colour, a change of the direction of writing) are written as Python writes them: ``\\n``, ``\\x1b``.
Light to load: it is needed while the rest of the command line is still being imported.
"""

from __future__ import annotations

import json
import unicodedata

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})  # control, format, half a character, ends of line and paragraph


def visible(text: str) -> str:
    """Write ``text`` as one line of characters that only stand there."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(char.encode("unicode_escape").decode() if _is_hidden(char) else char for char in text)


def visible_json(text: str) -> str:
    """Write JSON that means the same with what ``visible`` would escape escaped as JSON does it."""
    if text.isascii():  # json has escaped what is below a space
        return text.replace("\x7f", "\\u007f")
    return "".join(json.dumps(char)[1:-1].replace("\x7f", "\\u007f") if _is_hidden(char) else char for char in text)


def _is_hidden(char: str) -> bool:
    return unicodedata.category(char) in _HIDDEN
