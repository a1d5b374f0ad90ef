"""Progress as people see it: one bar on a terminal, an occasional line elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, Task, TaskID, TextColumn
from rich.progress import Progress as RichProgress
from rich.text import Text

from raybench.progress import Advance

Clock = Callable[[], float]


def duration(seconds: float) -> str:
    """Write a time span in the units that suit it."""
    if seconds < 10.0:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def rate(done: float, seconds: float) -> str:
    """Write how fast it goes: so many per second, or so long for each."""
    if done <= 0 or seconds <= 0.0:
        return ""
    each = seconds / done
    return f"{duration(each)} each" if each > 1.0 else f"{done / seconds:,.0f}/s"


class LineProgress:
    """At most one line every ``every`` seconds, and one when a stage is done."""

    def __init__(self, stream: TextIO, *, every: float = 5.0, clock: Clock = time.monotonic) -> None:
        self._stream = stream
        self._every = every
        self._clock = clock

    @contextmanager
    def track(self, name: str, total: int | None) -> Iterator[Advance]:
        """Open one stage."""
        start = said = self._clock()
        done, last = 0, ""

        def advance(n: int = 1, text: str = "") -> None:
            nonlocal done, last, said
            done, last, now = done + n, text or last, self._clock()
            if now - said >= self._every and done != total:
                said = now
                self.note(_line(name, done, total, now - start, last))

        yield advance
        ended = f", {last}" if last else ""
        self.note(f"{name}: {done:,} in {duration(self._clock() - start)}{ended}")

    def note(self, text: str) -> None:
        """Say one line."""
        print(text, file=self._stream, flush=True)


def _line(name: str, done: int, total: int | None, seconds: float, text: str) -> str:
    parts = [f"{name}: {done:,}" if total is None else f"{name}: {done:,}/{total:,}", rate(done, seconds)]
    if total and done:
        parts.append(f"{duration(seconds * (total - done) / done)} left")
    return ", ".join(part for part in (*parts, text) if part)


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        """Show rate and time left."""
        speed = rate(task.completed, task.elapsed or 0.0)
        left = f", {duration(task.time_remaining)} left" if task.time_remaining and task.completed else ""
        return Text(speed + left, style="cyan")


class _Count(ProgressColumn):
    def render(self, task: Task) -> Text:
        """Show how many of how many."""
        of = "" if task.total is None else f"/{task.total:,.0f}"
        return Text(f"{task.completed:,.0f}{of}", style="green")


class BarProgress:
    """One bar at a time: a stage inside another takes its place while it lasts."""

    def __init__(self, stream: TextIO, *, clock: Clock = time.monotonic) -> None:
        self._console = Console(file=stream, highlight=False)
        self._clock = clock
        self._bars: RichProgress | None = None
        self._open: list[TaskID] = []

    @contextmanager
    def track(self, name: str, total: int | None) -> Iterator[Advance]:
        """Open one stage."""
        outermost = self._bars is None
        bars = self._bars or self._start()
        if self._open:
            bars.update(self._open[-1], visible=False)
        task = bars.add_task(name, total=total, text="")
        self._open.append(task)
        start, done, last = self._clock(), 0, ""

        def advance(n: int = 1, text: str = "") -> None:
            nonlocal done, last
            done, last = done + n, text or last
            bars.update(task, advance=n, text=last)

        try:
            yield advance
        finally:
            self._close(task, stop=outermost)
        if outermost:
            ended = f", {last}" if last else ""
            self.note(f"{name}: {done:,} in {duration(self._clock() - start)}{ended}")

    def note(self, text: str) -> None:
        """Say one line, above the bar."""
        self._console.print(Text(text), soft_wrap=True)

    def _start(self) -> RichProgress:
        columns = (TextColumn("{task.description}", markup=False), BarColumn(bar_width=30), _Count(), _Rate())
        text = TextColumn("{task.fields[text]}", style="dim", markup=False)
        self._bars = RichProgress(*columns, text, console=self._console, transient=True)
        self._bars.start()
        return self._bars

    def _close(self, task: TaskID, *, stop: bool) -> None:
        assert self._bars is not None
        self._open.remove(task)
        self._bars.remove_task(task)
        if self._open:
            self._bars.update(self._open[-1], visible=True)
        if stop:
            self._bars.stop()
            self._bars = None
