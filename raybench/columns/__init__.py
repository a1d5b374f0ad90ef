"""Columns as somebody wrote them, brought to our types: moments, numbers, text, frames. Pure functions, no files."""

__all__ = [
    "arrow",
    "clock_times",
    "date_numbers",
    "epochs",
    "frames",
    "moments",
    "names",
    "numbers",
    "spelling",
    "typed",
    "types",
]
