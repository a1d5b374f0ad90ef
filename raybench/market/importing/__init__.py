"""From a source of bars to a bars dataset."""

__all__ = ["append", "frames", "job"]
