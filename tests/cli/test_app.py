"""The command line: exit codes, what goes where, and what it must not load."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.main import get_command

import raybench
from raybench.cli.app import COMMANDS, run
from raybench.cli.output import Output, command
from raybench.errors import DataError

Captured = pytest.CaptureFixture[str]


def call(function: Any, *arguments: str) -> int:
    """Run one command of its own."""
    app = typer.Typer()
    app.callback()(lambda: None)
    app.command("it")(command(function))
    code = get_command(app).main(["it", *arguments], standalone_mode=False)
    return code if isinstance(code, int) else 0


def test_version(capsys: Captured) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"raybench {raybench.__version__}\n"


def test_help_lists_the_commands(capsys: Captured) -> None:
    for arguments in ([], ["--help"]):
        assert run(arguments) == 0
        text = capsys.readouterr().out
        assert "check" in text
        assert "models" in text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["chekc"], "No such command 'chekc'. Did you mean 'check'?"),
        (["check"], "Missing argument"),
        (["check", "x", "--progress", "loud"], "'loud' is not one of"),
        (["check", "x", "--nope"], "No such option"),
        (["--nope"], "No such option"),
    ],
)
def test_errors_of_usage_are_one_line(arguments: list[str], says: str, capsys: Captured) -> None:
    assert run(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert says in err


def test_an_error_of_the_user_is_one_line(capsys: Captured) -> None:
    def fails(out: Output) -> None:
        raise DataError("bars: not there,\n want a folder")

    assert call(fails, "--json") == 2
    assert capsys.readouterr() == ("", "error: bars: not there, want a folder\n")


def test_a_bug_shows_its_traceback(capsys: Captured) -> None:
    def fails(out: Output) -> None:
        raise ZeroDivisionError("a bug")

    assert call(fails) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("Traceback")
    assert err.endswith("ZeroDivisionError: a bug\n")


def test_an_interrupt_is_130(capsys: Captured) -> None:
    def stops(out: Output) -> None:
        raise KeyboardInterrupt

    assert call(stops) == 130
    assert capsys.readouterr() == ("", "interrupted\n")


def test_json_is_the_last_line_and_alone_on_stdout(capsys: Captured) -> None:
    def speaks(out: Output, name: Annotated[str, typer.Argument()]) -> None:
        print("a stray print")
        warnings.warn("somebody's deprecation", DeprecationWarning, stacklevel=1)
        out.warn("look here")
        with out.progress.track("work", 2) as advance:
            advance()
            advance()
        out.summary({"name": name, "nan": float("nan"), "day": dt.date(2020, 1, 2)}, title="done")

    assert call(speaks, "you", "--json") == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == {"name": "you", "nan": None, "day": "2020-01-02", "warnings": ["look here"]}
    assert "a stray print" in err
    assert "warning: look here" in err
    assert "work: 2 in" in err
    assert "deprecation" not in err


def test_people_get_aligned_lines(capsys: Captured) -> None:
    def speaks(out: Output) -> None:
        rows = [{"model": "gru", "ic": 0.03151234}, {"model": "lstm", "ic": None}]
        out.summary({"rows": 1234567, "segments": {"train": "all"}, "names": ["a", "b"], "table": rows}, title="done")

    assert call(speaks) == 0
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines[:4] == ["done", "rows            1,234,567", "segments.train  all", "names           a, b"]
    assert [line.split() for line in lines[5:]] == [["model", "ic"], ["gru", "0.03151"], ["lstm", "-"]]


@pytest.mark.parametrize("option", [["--quiet"], ["--progress", "none"]])
def test_progress_can_be_silent(option: list[str], capsys: Captured) -> None:
    def works(out: Output) -> None:
        with out.progress.track("work", 1) as advance:
            advance()
        out.progress.note("a note")
        out.summary({"done": True})

    assert call(works, *option) == 0
    assert capsys.readouterr() == ("done  yes\n", "")


PROBE = """
import sys
{}
heavy = {{"torch", "ray", "numpy", "pandas", "pyarrow", "numba"}} & set(sys.modules)
assert not heavy, heavy
"""


@pytest.mark.parametrize(
    "statement",
    [
        "import raybench",
        "import raybench.config",
        "import raybench.cli.commands.check",
        "from raybench.cli.app import run; assert run(['models', '--json']) == 0",
        "from raybench.cli.app import run; assert run(['check', 'configs/gru_alpha158.yaml']) == 0",
        "from raybench.cli.app import run; assert run(['--help']) == 0",
    ],
)
def test_light_commands_load_nothing_heavy(statement: str) -> None:
    """What a laptop needs to check a config, and what `raybench --help` waits for."""
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", PROBE.format(statement)], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_python_m_raybench() -> None:
    done = subprocess.run([sys.executable, "-m", "raybench", "models", "--json"], capture_output=True, text=True)
    assert done.returncode == 0
    assert {row["type"] for row in json.loads(done.stdout)["models"]} >= {"gru", "lstm"}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_the_shared_options(name: str, capsys: Captured) -> None:
    if not (Path(raybench.__file__).parent / "cli" / "commands" / f"{COMMANDS[name]}.py").exists():
        pytest.skip(f"raybench/cli/{COMMANDS[name]}.py does not exist")
    assert run([name, "--help"]) == 0
    text = capsys.readouterr().out
    assert all(option in text for option in ("--json", "--quiet", "--progress", "--log-level", "--log-format"))


def test_a_stdout_without_utf8_takes_all(tmp_path: Path) -> None:
    """The work is done by then: what the encoding lacks must not fail it."""
    config = tmp_path / "中.yaml"
    config.write_text(Path("configs/gru_alpha158.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    for more in ([], ["--json"], ["--verbose"]):
        line = [sys.executable, "-m", "raybench", "check", str(config), *more]
        environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
        done = subprocess.run(line, capture_output=True, text=True, env=environment, encoding="ascii", timeout=60)
        assert done.returncode == 0, done.stderr


def test_a_stdout_that_is_full_is_one_line() -> None:
    with open("/dev/full", "w") as full:
        line = [sys.executable, "-m", "raybench", "models", "--json"]
        done = subprocess.run(line, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def test_what_is_told_and_the_next_command(capsys: Captured) -> None:
    def speaks(out: Output) -> None:
        out.summary({"rows": 12}, title="done", told=["twelve rows"], then=["score", "--to", "my scores"])

    assert call(speaks) == 0
    assert capsys.readouterr().out == "done\n  twelve rows\nnext: raybench score --to 'my scores'\n"
    assert call(speaks, "-v") == 0
    assert "rows  12\n" in capsys.readouterr().out
    assert call(speaks, "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"rows": 12, "warnings": []}


@pytest.mark.parametrize("error", ["None", "DataError('no')"])
def test_nothing_that_python_ends_late_can_change_the_exit_code(error: str) -> None:
    """A thread of a library that wakes while the interpreter is taken down ends the process with 134."""
    hook = f"""
import atexit, os, sys
from raybench.cli import app
from raybench.errors import DataError
import raybench.cli.commands.models as module
class Late:
    def __del__(self, abort=os.abort):
        abort()
def models(out):
    atexit.register(lambda: print("tidied"))
    module.late = Late()
    if {error} is not None:
        raise {error}
    print("said")
module.models = models
sys.argv = ["raybench", "models"]
app.main()
"""
    done = subprocess.run([sys.executable, "-c", hook], capture_output=True, text=True, timeout=60)
    assert done.returncode == (0 if error == "None" else 2), done.stderr
    assert done.stdout.endswith("tidied\n")
