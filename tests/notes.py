"""A progress that keeps what is said."""

from __future__ import annotations

from raybench.progress import SILENT


class Notes:
    """Shows nothing; ``lines`` are the notes so far."""

    def __init__(self) -> None:
        self.track, self.lines = SILENT.track, list[str]()

    def note(self, text: str) -> None:
        """Keep one."""
        self.lines.append(text)
