"""What a check found: a line for people, and what to do where something is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One check by ``name``.

    said : what was found, or what is wrong
    advice : what to do about it; empty where all is well
    figures : the same as numbers
    seconds : how long it took
    """

    name: str
    ok: bool
    said: str
    advice: str = ""
    figures: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0


def well(name: str, said: str, **figures: Any) -> Outcome:
    """All is well."""
    return Outcome(name=name, ok=True, said=said, figures=figures)


def wrong(name: str, said: str, advice: str, **figures: Any) -> Outcome:
    """Something is wrong, and this is what to do."""
    return Outcome(name=name, ok=False, said=said, advice=advice, figures=figures)
