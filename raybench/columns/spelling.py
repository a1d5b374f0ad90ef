"""Names that may mean one instrument: SH600000, sh600000 and 600000.SH; 000001 and the 1 that spreadsheets make of it.

Told and never merged: which of them is meant only their owner knows.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable


def plain(name: str) -> tuple[str, ...]:
    """What such spellings have in common: letters and numbers without case, marks, and zeros in front.

    >>> plain("600000.SH") == plain("sh600000"), plain("000001.SZ") == plain("000001.SH"), plain("000001") == plain("1")
    (True, False, True)
    """
    parts = re.findall(r"[^\W\d_]+|\d+", name.lower())
    parts = [part.lstrip("0") or "0" if part.isdecimal() else part for part in parts]
    if len(parts) == 2 and parts[0].isdecimal() and not parts[1].isdecimal():  # an exchange behind, not in front
        parts.reverse()
    return tuple(parts)


def twins(names: Iterable[str], has: Collection[str]) -> dict[str, str]:
    """Those of ``names`` that are not among ``has`` and yet may be one of them -> which one.

    A bare number may be that of the only one with an exchange beside it, and the other way round.

    >>> twins(["1", "600000.SH", "600001", "X"], ["000001", "SH600000", "SH600001"])
    {'1': '000001', '600000.SH': 'SH600000', '600001': 'SH600001'}
    """
    known, spelt = set(has), dict[tuple[str, ...], str]()
    bare: dict[tuple[str, ...], list[str]] = {}
    for other in has:
        key = plain(other)
        spelt[key] = other
        if len(key) == 2 and key[1].isdecimal():
            bare.setdefault(key[1:], []).append(other)
    found = {}
    for name in names:
        key = plain(name)
        if name in known or not key:
            continue
        alone = bare.get(key, [])
        number = spelt.get(key[1:]) if len(key) == 2 and key[1].isdecimal() else None
        which = spelt.get(key) or (alone[0] if len(alone) == 1 else number)
        if which is not None:
            found[name] = which
    return found
