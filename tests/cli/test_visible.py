"""Whatever a command prints, no name in it moves, colours or reverses the terminal."""

from __future__ import annotations

import io
import json
import logging
import re
from typing import Any

import pytest
import typer
from typer.main import get_command

from raybench.cli import interrupts
from raybench.cli.app import run
from raybench.cli.output import Output, ProgressMode, command
from raybench.cli.progress_bars import BarProgress, LineProgress
from raybench.cli.visible import visible, visible_json
from raybench.errors import DataError
from raybench.reports.plain import plain

NASTY = "Z\x1b]0;pwned\x07\x1b[31m\u202ea\nb\r\x9b1m\u2028\x7f\U000e0001"
SHOWN = r"Z\x1b]0;pwned\x07\x1b[31m\u202ea\nb\r\x9b1m\u2028\x7f\U000e0001"
BARE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\U000e0001]")


def test_what_is_hidden_is_escaped_and_letters_of_all_kinds_stay() -> None:
    assert visible(NASTY) == SHOWN
    assert visible("贵州茅台 é 😀 \\n") == "贵州茅台 é 😀 \\n"
    text = json.dumps([NASTY, "é"], ensure_ascii=False)
    assert not BARE.search(visible_json(text))
    assert json.loads(visible_json(text)) == [NASTY, "é"]


class Terminal(io.StringIO):
    """What says that it is one."""

    def isatty(self) -> bool:
        return True


def output(**options: Any) -> tuple[Output, io.StringIO, io.StringIO]:
    plain = {"as_json": False, "verbose": True, "quiet": False, "progress": ProgressMode.PLAIN}
    stdout, stderr = io.StringIO(), io.StringIO()
    return Output(**{**plain, **options}, stdout=stdout, stderr=stderr), stdout, stderr


def test_summaries_warnings_and_lines_are_visible() -> None:
    out, stdout, stderr = output()
    values = {NASTY: NASTY, "list": [NASTY], "in": {NASTY: 1}, "rows": [{NASTY: NASTY}]}
    out.summary(values, title=NASTY, told=[NASTY], then=("score", NASTY))
    out.warn(NASTY)
    out.progress.note(NASTY)
    for told in (stdout.getvalue(), stderr.getvalue()):
        assert SHOWN[:20] in told
        assert not BARE.search(told)
    assert stderr.getvalue() == f"warning: {SHOWN}\n{SHOWN}\n"


def test_json_means_the_same() -> None:
    out, stdout, _ = output(as_json=True)
    out.summary({NASTY: [NASTY]})
    assert not BARE.search(stdout.getvalue())
    assert json.loads(stdout.getvalue()) == plain({NASTY: [NASTY], "warnings": []})


@pytest.mark.parametrize("kind", [LineProgress, BarProgress])
def test_progress_is_visible(kind: Any) -> None:
    stream = io.StringIO() if kind is LineProgress else Terminal()
    progress = kind(stream)
    with progress.track(f"read {NASTY}", 2) as advance:
        advance(1, text=NASTY)
        advance(1, text=NASTY)
    progress.note(NASTY)
    assert SHOWN[:20] in stream.getvalue()
    assert not re.search("\x1b]0|\x07|\x1b\\[31m\u202e|\u202e|\x9b", stream.getvalue())


@pytest.mark.parametrize("error", [DataError(NASTY), ValueError(NASTY)])
def test_errors_and_logs_are_visible(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    def it(out: Output) -> None:
        logging.getLogger("raybench.x").warning(NASTY)
        raise error

    app = typer.Typer()
    app.callback()(lambda: None)
    app.command("it")(command(it))
    assert get_command(app).main(["it"], standalone_mode=False) in (1, 2)
    told = capsys.readouterr().err
    assert told.count(SHOWN[:20]) >= 2
    assert not BARE.search(told)


def test_interrupts_and_errors_of_usage_are_visible(capsys: pytest.CaptureFixture[str]) -> None:
    assert interrupts.said(KeyboardInterrupt(), NASTY) == f"interrupted: {SHOWN}"
    assert run(["check", "x", f"--{NASTY}"]) == 2
    assert not BARE.search(capsys.readouterr().err)
