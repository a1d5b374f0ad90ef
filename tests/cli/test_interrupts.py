"""Ctrl-C and SIGTERM, as they meet a process: one line, no traceback, 130 and 143."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from raybench.cli import interrupts
from raybench.cli.app import run
from raybench.cli.interrupts import ended_by_signals
from raybench.cli.output import Output, ProgressMode
from raybench.cli.progress_bars import LineProgress, StoppableProgress
from raybench.errors import DataError

ROOT = Path(__file__).parents[2]


def start(code: str, path: str = "") -> subprocess.CompletedProcess[str]:
    """Run python code in a process of its own, with ``path`` before everything else that can be imported."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([path, str(ROOT)])}
    done = [sys.executable, "-c", code]
    return subprocess.run(done, capture_output=True, text=True, env=environment, timeout=60)


def signalled(name: str) -> str:
    return f"import os, signal, time; os.kill(os.getpid(), signal.{name}); time.sleep(20)"


SIGHUP = ("SIGHUP", "ended by SIGHUP\n", 129)


@pytest.mark.parametrize(
    ("name", "said", "code"), [("SIGINT", "interrupted\n", 130), ("SIGTERM", "ended by SIGTERM\n", 143), SIGHUP]
)
def test_a_signal_while_python_still_imports(name: str, said: str, code: int, tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text(signalled(name))
    done = start("from raybench.cli.app import main; main()", str(tmp_path))
    assert (done.returncode, done.stdout, done.stderr) == (code, "", said)


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_waits_for_torch_to_be_imported(name: str, code: int, tmp_path: Path) -> None:
    """Its C++ code aborts the process where a callback of the import raises; after it the command ends as always."""
    (tmp_path / "torch").mkdir()
    body = f"{signalled(name).replace('(20)', '(0.3)')}; print('imported whole')"
    (tmp_path / "torch" / "__init__.py").write_text(body)
    (tmp_path / "typer.py").write_text("import torch, time; time.sleep(20)")
    done = start("from raybench.cli.app import main; main()", str(tmp_path))
    assert (done.returncode, done.stdout) == (code, "imported whole\n")
    assert done.stderr.count("\n") == 1


def test_a_second_interrupt_waits_for_nothing(tmp_path: Path) -> None:
    (tmp_path / "torch").mkdir()
    twice = "import os, signal, time\nfor _ in (1, 2): os.kill(os.getpid(), signal.SIGINT); time.sleep(0.1)\n"
    (tmp_path / "torch" / "__init__.py").write_text(f"{twice}time.sleep(20)")
    (tmp_path / "typer.py").write_text("import torch")
    assert start("from raybench.cli.app import main; main()", str(tmp_path)).returncode == -signal.SIGINT


@pytest.mark.parametrize(
    ("name", "said", "code"),
    [("SIGINT", "interrupted", 130), ("SIGTERM", "ended by SIGTERM", 143), ("SIGHUP", "ended by SIGHUP", 129)],
)
def test_a_signal_while_a_command_works(name: str, said: str, code: int) -> None:
    hook = f"""
import sys
from raybench.cli import app, output
def models(out):
    out.keeps("what was done stays")
    {signalled(name)}
import raybench.cli.commands.models
raybench.cli.commands.models.models = models
sys.argv = ["raybench", "models", "--json"]
app.main()
"""
    done = start(hook)
    assert done.returncode == code
    assert done.stdout == ""
    assert done.stderr.startswith(said)
    assert done.stderr.endswith(": what was done stays\n")


@pytest.mark.parametrize(
    ("name", "twice", "code"), [("SIGTERM", False, 143), ("SIGTERM", True, 143), ("SIGHUP", False, 129)]
)
def test_a_signal_ends_process_1_of_a_container(name: str, twice: bool, code: int) -> None:
    """There the system itself does nothing on a signal that the process does not handle."""
    alone = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child"]
    if shutil.which("unshare") is None or subprocess.run([*alone, "true"], capture_output=True).returncode:
        pytest.skip("needs unshare, to be process 1 of something")
    again = "os.kill(1, signal.SIGTERM); time.sleep(20)" if twice else "raise"
    hook = f"""
from raybench.cli import app
import raybench.cli.commands.models, os, signal, sys, time
def models(out):
    out.keeps("what was done stays")
    assert os.getpid() == 1
    try:
        os.kill(1, signal.{name})
        time.sleep(20)
    except KeyboardInterrupt:
        {again}
raybench.cli.commands.models.models = models
sys.argv = ["raybench", "models"]
app.main()
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*alone, sys.executable, "-c", hook], capture_output=True, text=True, env=environment, timeout=60
    )
    assert done.returncode == code, done.stderr
    assert done.stderr == ("" if twice else f"ended by {name}: what was done stays\n")


def test_behind_nohup_a_closed_terminal_ends_nothing() -> None:
    hook = """
from raybench.cli import app
import raybench.cli.commands.models, os, signal, sys
def models(out):
    os.kill(os.getpid(), signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
raybench.cli.commands.models.models = models
sys.argv = ["raybench", "models"]
signal.signal(signal.SIGHUP, signal.SIG_IGN)
app.main()
"""
    done = start(hook)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_terminal_that_was_closed_takes_no_line_and_the_code_stays() -> None:
    code = """
import os, sys
from raybench.cli import interrupts
class Closed:
    def isatty(self): return True
    def write(self, text): raise OSError(5, "Input/output error")
    def flush(self): pass
sys.stderr = Closed()
interrupts.on_a_line_of_its_own("ended")
print("went on")
"""
    assert start(code).stdout == "went on\n"


def test_sigterm_is_143_although_ray_raises_a_plain_interrupt() -> None:
    code = f"""
from raybench.cli import interrupts
with interrupts.ended_by_signals():
    try:
        {signalled("SIGTERM")}
    except KeyboardInterrupt:
        stop = KeyboardInterrupt()
print(interrupts.exit_code(stop), interrupts.said(stop, "all"))
"""
    assert start(code).stdout == "143 ended by SIGTERM: all\n"


def test_an_import_says_what_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("raybench.market.sources.open_source", interrupted)
    assert run(["import", str(tmp_path), "--to", str(tmp_path / "bars")]) == 130
    assert "the same command" in capsys.readouterr().err


def test_what_is_kept_is_looked_up_when_the_work_is_interrupted() -> None:
    """Where the store does not answer then, what was said before stands."""
    out = Output(
        as_json=False, verbose=False, quiet=True, progress=ProgressMode.NONE, stdout=io.StringIO(), stderr=io.StringIO()
    )

    def silent() -> str:
        raise DataError("nobody answers")

    out.keeps("it is as it was")
    for kept, said in ((silent, "it is as it was"), (lambda: "two epochs are kept", "two epochs are kept")):
        with pytest.raises(KeyboardInterrupt), out.keeping(kept):
            raise KeyboardInterrupt
        assert out.kept == said
    with out.keeping(lambda: "nothing"):
        pass
    assert out.kept == "two epochs are kept"


SWALLOWED = """
try:
    {signalled}
except KeyboardInterrupt:
    pass
raise AttributeError("module 'numpy' has no attribute 'matrix'")
"""


@pytest.mark.parametrize(
    ("name", "said", "code"), [("SIGINT", "interrupted", 130), ("SIGTERM", "ended by SIGTERM", 143)]
)
@pytest.mark.parametrize("error", ["AttributeError", "DataError"])
def test_what_fails_because_a_library_swallowed_the_signal_is_the_interrupt(
    name: str, said: str, code: int, error: str
) -> None:
    hook = f"""
from raybench.cli import app
from raybench.errors import DataError
import raybench.cli.commands.models, sys
def models(out):
    out.keeps("what was done stays")
    try:
        {signalled(name)}
    except KeyboardInterrupt:
        pass
    raise {error}("half an import")
raybench.cli.commands.models.models = models
sys.argv = ["raybench", "models"]
app.main()
"""
    done = start(hook)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr == f"{said}: what was done stays\n"


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_so_it_is_before_the_command_begins(name: str, code: int, tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text(SWALLOWED.format(signalled=signalled(name)))
    done = start("from raybench.cli.app import main; main()", str(tmp_path))
    assert (done.returncode, done.stderr.count("\n")) == (code, 1)


def test_without_a_signal_an_error_stays_an_error() -> None:
    hook = """
from raybench.cli import app
import raybench.cli.commands.models, sys
def models(out):
    raise AttributeError("ours")
raybench.cli.commands.models.models = models
sys.argv = ["raybench", "models"]
app.main()
"""
    assert start(hook).returncode == 1


def test_an_interrupt_that_somebody_swallowed_comes_again_with_the_next_word(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hook that runs while a process forks has its exceptions printed and forgotten."""
    monkeypatch.setattr(interrupts._Received, "any", False)  # and so it is afterwards
    said: list[str] = []
    shown = LineProgress(io.StringIO())
    with ended_by_signals():
        progress = StoppableProgress(shown)
        progress.note("before")
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            progress.note("after")
        with pytest.raises(KeyboardInterrupt), progress.track("dates", 3):
            said.append("went on")
    progress.note("the next command in this process")
    assert said == []
