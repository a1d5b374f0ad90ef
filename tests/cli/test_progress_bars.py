"""Progress for people: lines now and then, or one bar."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
import termios
from contextlib import suppress

import pytest

from raybench.cli.pace import Pace
from raybench.cli.progress_bars import BarProgress, LineProgress, duration, speed


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_lines_are_throttled() -> None:
    stream, clock = io.StringIO(), Clock()
    with LineProgress(stream, every=5.0, clock=clock).track("rows", 100) as advance:
        for _ in range(100):
            clock.now += 0.125
            advance(text="loss 0.9")
    assert stream.getvalue().splitlines() == [
        "rows: 40/100, 8/s, 7.5 s left, loss 0.9",
        "rows: 80/100, 8/s, 2.5 s left, loss 0.9",
        "rows: 100 in 12 s, loss 0.9",
    ]


def test_a_stage_of_unknown_length() -> None:
    stream, clock = io.StringIO(), Clock()
    with LineProgress(stream, every=1.0, clock=clock).track("files", None) as advance:
        clock.now = 3.0
        advance(2)
    assert stream.getvalue().splitlines() == ["files: 2", "files: 2 in 3.0 s"]


def test_a_stage_that_fails_is_not_done() -> None:
    stream = io.StringIO()
    with pytest.raises(ZeroDivisionError), LineProgress(stream).track("rows", 3):
        raise ZeroDivisionError
    assert stream.getvalue() == ""


def test_one_bar_at_a_time() -> None:
    stream = Terminal()
    progress = BarProgress(stream)
    with progress.track("outer", 2) as outer:
        outer(text="loss [0.9]")
        with progress.track("inner", 1) as inner:
            assert progress._bars is not None
            visible = [task.description for task in progress._bars.tasks if task.visible]
            inner()
        again = [task.description for task in progress._bars.tasks if task.visible]
        outer()
    assert (visible, again) == (["inner"], ["outer"])
    assert progress._bars is None
    last = stream.getvalue().splitlines()[-1]
    assert "outer: 2 in " in last
    assert last.endswith("loss [0.9]")


def test_a_bar_that_fails_gives_the_terminal_back() -> None:
    progress = BarProgress(Terminal())
    with pytest.raises(ZeroDivisionError), progress.track("outer", 2), progress.track("inner", 2):
        raise ZeroDivisionError
    assert progress._bars is None
    with progress.track("again", 1) as advance:
        advance()


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.44, "0.4 s"), (61.0, "61 s"), (200.0, "3 min 20 s"), (7500.0, "2 h 05 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(("per_second", "text"), [(None, ""), (0.0, ""), (2500.0, "2,500/s"), (0.25, "4.0 s each")])
def test_speeds(per_second: float | None, text: str) -> None:
    assert speed(per_second) == text


def paced(*seconds: float, alike: bool = False) -> Pace:
    """A stage whose steps took so long."""
    clock = Clock()
    pace = Pace(clock, alike=alike)
    for each in seconds:
        clock.now += each
        pace.step(1)
    return pace


@pytest.mark.parametrize("seconds", [(), (9.0,), (9.0, 1.0), (0.1, 0.1, 0.1)])
def test_no_estimate_before_three_steps_or_in_an_instant(seconds: tuple[float, ...]) -> None:
    assert paced(*seconds).left(100) is None


def test_the_first_step_which_starts_things_is_not_the_rate() -> None:
    assert paced(100.0, 1.0, 1.0).left(13) == pytest.approx(10.0)


def test_what_is_left_follows_the_recent_rate() -> None:
    assert paced(*[10.0] * 5, *[0.5] * 100).left(115) == pytest.approx(5.0, rel=0.1)


def test_a_stage_that_stands_still_takes_longer() -> None:
    pace = paced(1.0, 1.0, 1.0)
    assert isinstance(pace._clock, Clock)
    pace._clock.now += 8.0
    assert pace.left(12) == pytest.approx(45.0)
    assert pace.left(4) is None  # so few are unlike each other


def test_few_steps_that_are_alike_have_an_estimate_from_the_second_on() -> None:
    assert paced(60.0, alike=True).left(8) is None
    assert paced(60.0, 0.0, alike=True).left(8) == pytest.approx(180.0), "two that ran side by side end together"
    assert paced(60.0, 20.0, 10.0, alike=True).left(8) == pytest.approx(150.0)
    assert paced(0.0, 0.0, 0.0, 60.0, 60.0, alike=True).left(8) == pytest.approx(180.0), "three were done before"
    assert paced(60.0, 60.0, alike=True).left(2) is None


def test_what_is_left_of_trainings_is_said_roughly() -> None:
    stream, clock = io.StringIO(), Clock()
    with LineProgress(stream, every=5.0, clock=clock).track("trials", 8, alike=True) as advance:
        for _ in range(3):
            clock.now += 30.0
            advance(text="best Rank IC 0.05")
    assert stream.getvalue().splitlines()[:3] == [
        "trials: 1/8, best Rank IC 0.05",
        "trials: 2/8, 30 s each, about 3 min 00 s left, best Rank IC 0.05",
        "trials: 3/8, 30 s each, about 2 min 30 s left, best Rank IC 0.05",
    ]


def test_steps_of_many_and_a_burst_of_them() -> None:
    clock = Clock()
    pace = Pace(clock)
    for _ in range(3):
        pace.step(16)  # three parts that were worked on beside each other come at once
    assert pace.left(1000) is None
    clock.now += 2.0
    pace.step(16)
    assert pace.left(112) == pytest.approx(2.0)


def test_at_most_is_said_where_a_stage_may_end_early() -> None:
    stream, clock = io.StringIO(), Clock()
    with LineProgress(stream, every=3.0, clock=clock).track("training", 10, at_most=True) as advance:
        for _ in range(3):
            clock.now += 1.0
            advance()
    assert stream.getvalue().splitlines()[0] == "training: 3/10, 1/s, at most 7.0 s left"


LONG = "a stage with a name that is longer than anybody would wish it to be"


def test_nothing_is_broken_at_80_columns() -> None:
    """In a terminal of 80 columns every drawing of the bar is one line."""
    screen = drawn(
        f"""
import time
from raybench.cli.progress_bars import BarProgress
progress = BarProgress(__import__("sys").stderr)
for name in ("short", {LONG!r}):
    with progress.track(name, 1_200_000, at_most=True) as advance:
        for k in range(12):
            advance(100_000, text="Rank IC 0.0512, no better for 3 of 10 epochs, and more words than there is room")
            time.sleep(0.1)
progress.note("a note of more than eighty characters, which goes on below, but never within a single word of it")
"""
    )
    for line in re.split(r"[\r\n]+|\x1b\[\d*[A-Z]", screen):
        assert len(re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", line).rstrip()) <= 80, repr(line)
    assert "…" in screen
    plain = [line.rstrip() for line in re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", screen).splitlines()]
    assert plain[-2:] == [
        "a note of more than eighty characters, which goes on below, but never within a",
        "single word of it",
    ]


def drawn(code: str) -> str:
    """Run python code in a terminal of 80 columns, and return what it wrote to it."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=theirs, stdout=theirs, stderr=theirs, env={**environment, "TERM": "xterm"}
    )
    os.close(theirs)
    parts = []
    with suppress(OSError):  # of Linux, when the other side is closed
        while part := os.read(ours, 65536):
            parts.append(part)
    os.close(ours)
    assert process.wait(30) == 0
    return b"".join(parts).decode()
