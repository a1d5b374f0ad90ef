"""Progress as people see it: one bar on a terminal, an occasional line elsewhere."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO, cast

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, Task, TaskID
from rich.progress import Progress as RichProgress
from rich.table import Column
from rich.text import Text

from raybench.cli.interrupts import again
from raybench.cli.json_log import JsonLog
from raybench.cli.pace import Clock, Pace
from raybench.cli.visible import visible
from raybench.progress import Advance, Progress

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
BAR_WIDTH = 10  # so that name, figures and text of a stage stand beside it in 80 columns


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


def speed(per_second: float | None) -> str:
    """Write how fast it goes: so many per second, or so long for each."""
    if not per_second:
        return ""
    return f"{duration(1.0 / per_second)} each" if per_second < 1.0 else f"{per_second:,.0f}/s"


def figures(pace: Pace, total: int | None, *, at_most: bool) -> str:
    """Write how fast a stage goes and how long the rest takes, as far as it can be known."""
    left = pace.left(total)
    how = "at most " if at_most else "about " if pace.alike else ""
    rest = "" if left is None else f"{how}{duration(left)} left"
    return ", ".join(part for part in (speed(pace.rate()), rest) if part)


class LineProgress:
    """At most one line every ``every`` seconds, and one when a stage is done."""

    def __init__(self, stream: TextIO, *, every: float = 5.0, clock: Clock = time.monotonic) -> None:
        self._stream = stream
        self._every = every
        self._clock = clock

    @contextmanager
    def track(self, name: str, total: int | None, *, at_most: bool = False, alike: bool = False) -> Iterator[Advance]:
        """Open one stage."""
        start = said = self._clock()
        done, last, pace = 0, "", Pace(self._clock, alike=alike)

        def advance(n: int = 1, text: str = "") -> None:
            nonlocal done, last, said
            done, last, now = done + n, text or last, self._clock()
            pace.step(n)
            if now - said >= self._every and done != total:
                said = now
                count = f"{name}: {done:,}" if total is None else f"{name}: {done:,}/{total:,}"
                parts = (count, figures(pace, total, at_most=at_most), last)
                self._tell(", ".join(part for part in parts if part), name, total, done, last)

        yield advance
        self._tell(ended(name, done, self._clock() - start, last), name, total, done, last)

    def note(self, text: str) -> None:
        """Say one line."""
        print(visible(text), file=self._stream, flush=True)

    def _tell(self, line: str, name: str, total: int | None, done: int, last: str) -> None:
        self.note(line)


class LoggedProgress(LineProgress):
    """The same as objects of a log, which say beside their words how far which stage is, and on which date."""

    def __init__(self, log: JsonLog, *, every: float = 5.0, clock: Clock = time.monotonic) -> None:
        super().__init__(cast(TextIO, log), every=every, clock=clock)
        self._log = log

    def note(self, text: str) -> None:
        """Say something."""
        self._log.put("info", text)

    def _tell(self, line: str, name: str, total: int | None, done: int, last: str) -> None:
        date = {"date": last} if _DATE.fullmatch(last) else {}
        self._log.put("info", line, stage=name, done=done, total=total, **date)


class StoppableProgress:
    """Another progress, of a command that goes on no further than to its next word once it was interrupted."""

    def __init__(self, shown: Progress) -> None:
        self._shown = shown

    @contextmanager
    def track(self, name: str, total: int | None, *, at_most: bool = False, alike: bool = False) -> Iterator[Advance]:
        """See ``raybench.progress``."""
        again()
        with self._shown.track(name, total, at_most=at_most, alike=alike) as advance:

            def checked(n: int = 1, text: str = "") -> None:
                again()
                advance(n, text)

            yield checked

    def note(self, text: str) -> None:
        """Say one line."""
        again()
        self._shown.note(text)


def ended(name: str, done: int, seconds: float, last: str) -> str:
    """Write what is left of a stage that is done."""
    return f"{name}: {done:,} in {duration(seconds)}{', ' if last else ''}{last}"


class _Words(ProgressColumn):
    """Words of a task on one line, cut where there is no room."""

    def __init__(self, field: str, style: str) -> None:
        super().__init__(Column())  # which may shrink, as the others may not
        self._field, self._style = field, style

    def render(self, task: Task) -> Text:
        """Show the task's name, or its text."""
        words = task.description if self._field == "name" else str(task.fields[self._field])
        return Text(visible(words), style=self._style, no_wrap=True, overflow="ellipsis")


class _Figures(ProgressColumn):
    def __init__(self) -> None:
        super().__init__(Column(no_wrap=True))

    def render(self, task: Task) -> Text:
        """Show how many of how many, how fast and how long yet."""
        of = "" if task.total is None else f"/{task.total:,.0f}"
        total = None if task.total is None else int(task.total)
        said = figures(task.fields["pace"], total, at_most=task.fields["at_most"])
        return Text.assemble((f"{task.completed:,.0f}{of}", "green"), (f"  {said}" if said else "", "cyan"))


class BarProgress:
    """One bar at a time, on one line however narrow: a stage inside another takes its place while it lasts."""

    def __init__(self, stream: TextIO, *, clock: Clock = time.monotonic) -> None:
        self._console = Console(file=stream, highlight=False)
        self._clock = clock
        self._bars: RichProgress | None = None
        self._open: list[TaskID] = []

    @contextmanager
    def track(self, name: str, total: int | None, *, at_most: bool = False, alike: bool = False) -> Iterator[Advance]:
        """Open one stage."""
        outermost = self._bars is None
        bars = self._bars or self._start()
        if self._open:
            bars.update(self._open[-1], visible=False)
        start, done, last, pace = self._clock(), 0, "", Pace(self._clock, alike=alike)
        task = bars.add_task(name, total=total, text="", pace=pace, at_most=at_most)
        self._open.append(task)

        def advance(n: int = 1, text: str = "") -> None:
            nonlocal done, last
            done, last = done + n, text or last
            pace.step(n)
            bars.update(task, advance=n, text=last)

        try:
            yield advance
        finally:
            self._close(task, stop=outermost)
        if outermost:
            self.note(ended(name, done, self._clock() - start, last))

    def note(self, text: str) -> None:
        """Say something, above the bar; what is longer than a line goes on below, between words."""
        self._console.print(Text(visible(text), overflow="fold"))

    def _start(self) -> RichProgress:
        bar = BarColumn(bar_width=BAR_WIDTH, table_column=Column(no_wrap=True))
        columns = (_Words("name", ""), bar, _Figures(), _Words("text", "dim"))
        self._bars = RichProgress(*columns, console=self._console, transient=True)
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
