"""Standard error as objects, one a line, whoever writes to it."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from raybench.cli import output
from raybench.cli.app import COMMANDS, run
from raybench.cli.commands import models
from raybench.cli.output import Output
from raybench.errors import DataError

Captured = pytest.CaptureFixture[str]
JSON = ("--log-format", "json")


def logged(text: str) -> list[dict[str, Any]]:
    """The objects of a log, each line one, without their times."""
    found = [json.loads(line) for line in text.splitlines()]
    for each in found:
        age = datetime.now(UTC) - datetime.fromisoformat(each.pop("time"))
        assert timedelta(seconds=-1) < age < timedelta(minutes=1)
        assert {"level", "message", "command"} <= each.keys()
    return found


@pytest.fixture
def doing(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let the command `models` do something else."""

    def doing(work: Any) -> None:
        monkeypatch.setattr(models, "register", lambda app: app.command("models")(output.command(work)))

    return doing


def test_whatever_is_said_is_an_object(doing: Any, capsys: Captured) -> None:
    def work(out: Output) -> None:
        out.about(run="runs/gru", date="2026-01-05")
        out.warn("thin")
        out.about(date=None)
        print("a library\nspeaks", end=" ")
        print("twice", file=sys.stderr)
        out.progress.note("two\nlines \x7f \u202e")
        with out.progress.track("scoring dates", 3) as advance:
            advance(3, text="2026-01-07")
        logging.getLogger("raybench").warning("%d of them", 3)
        out.summary({"rows": 1}, title="done")

    doing(work)
    assert run(["models", *JSON, "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == {"rows": 1, "warnings": ["thin"]}
    assert "\x7f" not in err
    assert "\u202e" not in err
    about = {"level": "info", "command": "models", "run": "runs/gru"}
    assert logged(err) == [
        {**about, "level": "warning", "message": "thin", "date": "2026-01-05"},
        {**about, "message": "a library"},
        {**about, "message": "speaks twice"},
        {**about, "message": "two\nlines \x7f \u202e"},
        {
            **about,
            "message": "scoring dates: 3 in 0.0 s, 2026-01-07",
            "stage": "scoring dates",
            "done": 3,
            "total": 3,
            "date": "2026-01-07",
        },
        {**about, "level": "warning", "message": "3 of them", "logger": "raybench"},
        {**about, "message": "ended with 0", "exit_code": 0},
    ]


def test_an_error_of_the_user_is_an_object(doing: Any, capsys: Captured) -> None:
    def work(out: Output) -> None:
        raise DataError("no bars")

    doing(work)
    assert run(["models", "--log-format=json"]) == 2
    said, ended = logged(capsys.readouterr().err)
    assert said == {"level": "error", "message": "no bars", "command": "models"}
    assert (ended["level"], ended["exit_code"]) == ("warning", 2)


def test_an_exception_is_one_object_with_its_traceback(doing: Any, capsys: Captured) -> None:
    def work(out: Output) -> None:
        try:
            raise KeyError("x")
        except KeyError:
            logging.getLogger("raybench").exception("first")
        raise ZeroDivisionError("by zero")

    doing(work)
    assert run(["models", *JSON]) == 1
    first, second, _ = logged(capsys.readouterr().err)
    assert (first["level"], first["message"]) == ("error", "first")
    assert first["exception"].endswith("KeyError: 'x'")
    assert second["message"] == "ZeroDivisionError: by zero"
    assert second["exception"].startswith("Traceback")
    assert "in work" in second["exception"]


def test_an_error_of_usage_is_an_object(capsys: Captured) -> None:
    assert run(["models", *JSON, "--nonsense"]) == 2
    said, _ = logged(capsys.readouterr().err)
    assert said["message"].startswith("No such option: --nonsense")
    assert run(["models", "--log-format", "xml"]) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_without_it_text_is_as_it_was(doing: Any, capsys: Captured) -> None:
    def work(out: Output) -> None:
        out.about(run="runs/gru")
        out.warn("thin")
        raise DataError("no bars")

    doing(work)
    assert run(["models"]) == 2
    assert capsys.readouterr().err == "warning: thin\nerror: no bars\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_it(command: str, capsys: Captured) -> None:
    assert run([command, *JSON, "--nonsense"]) == 2
    said, _ = logged(capsys.readouterr().err)
    assert (said["level"], said["command"]) == ("error", command)


def test_a_signal_is_an_object(tmp_path: Path) -> None:
    code = """
import os, signal, sys
from raybench.cli import app
import raybench.cli.commands.models as module
def models(out):
    out.keeps("all of it")
    os.kill(os.getpid(), signal.SIGTERM)
module.models = models
sys.argv = ["raybench", "models", "--log-format", "json"]
app.main()
"""
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 143, done.stderr
    said, ended = logged(done.stderr)
    assert (said["level"], said["message"]) == ("error", "ended by SIGTERM: all of it")
    assert ended["exit_code"] == 143
