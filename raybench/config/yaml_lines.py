"""Changing values in YAML text and leaving all else, comments among it, as it was written."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raybench.config.yaml_text import Path, dump_yaml, parse_yaml

KeyPath = Path
"""The keys that lead to a value."""

_KEY = re.compile(r"(\s*)([\w.]+):(\s|$)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Another value of a key; ``comment``: lines in place of those above it, None: these stay.

    ``below``: the key holds others, which stay as they are, and only its comment changes.
    """

    value: Any = None
    comment: Sequence[str] | None = None
    below: bool = False


def with_changes(text: str, changes: Mapping[KeyPath, Change], name: str) -> str:
    """Change the values of keys that stand on one line each with their value; what is behind it on the line goes."""
    document, lines = parse_yaml(text, name), text.splitlines()
    for path in sorted(changes, key=lambda path: -document.lines[path]):
        change, at = changes[path], document.lines[path] - 1
        found = _KEY.match(lines[at])
        assert found is not None, f"{name}:{at + 1}: {path[-1]} does not begin its line"
        assert found[2] == path[-1], f"{name}:{at + 1}: {path[-1]} does not begin its line"
        if not change.below:
            lines[at] = f"{found[1]}{found[2]}: {scalar(change.value)}"
        if change.comment is not None:
            first = at
            while first and lines[first - 1].startswith(f"{found[1]}#"):
                first -= 1
            lines[first:at] = [f"{found[1]}# {line}".rstrip() for line in change.comment]
    return "\n".join(lines) + "\n"


def scalar(value: Any) -> str:
    """Write a value, or a list of some, on one line."""
    text = dump_yaml(value).strip() if isinstance(value, list) else dump_yaml([value]).strip()[1:-1]
    return json.dumps(value, ensure_ascii=True) if "\n" in text else text
