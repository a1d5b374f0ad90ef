"""A configuration for the bars at hand: their universes and dates, on Qlib's benchmark settings."""

__all__ = ["draft", "segments"]
