"""Bars and what belongs to them: calendar, universe, concepts, quality; where they come from, how they are imported."""

__all__ = [
    "adjustment",
    "bars",
    "bars_metadata",
    "calendar",
    "census",
    "concepts",
    "digests",
    "membership",
    "quality",
    "seen",
    "sessions",
    "synthetic",
    "universe",
]
