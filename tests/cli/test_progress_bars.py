"""Progress for people: lines now and then, or one bar."""

from __future__ import annotations

import io

import pytest

from raybench.cli.progress_bars import BarProgress, LineProgress, duration, rate


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
    assert stream.getvalue().splitlines() == ["files: 2, 1.5 s each", "files: 2 in 3.0 s"]


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


@pytest.mark.parametrize(("done", "seconds", "text"), [(0, 1.0, ""), (5000, 2.0, "2,500/s"), (2, 9.0, "4.5 s each")])
def test_rates(done: int, seconds: float, text: str) -> None:
    assert rate(done, seconds) == text
