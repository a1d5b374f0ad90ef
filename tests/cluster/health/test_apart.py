"""A check in a process of its own: whatever becomes of it is an outcome, soon, and nothing of it is left."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from raybench.cluster.health.apart import apart, guarded
from raybench.cluster.health.outcome import Outcome, well
from raybench.errors import DataError


def fine(number: float) -> Outcome:
    print("something that a library says")
    return well("fine", f"it is {number:g}", number=number, none=float("nan"))


def hangs(pid: str) -> Outcome:
    """Hang, and so does a process that was started."""
    print("waiting for nobody", flush=True)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path(pid).write_text(str(child.pid))
    time.sleep(600)
    return well("hangs", "")


def crashes() -> Outcome:
    print("about to go")
    sys.stdout.flush()
    os._exit(3)


def refuses() -> Outcome:
    raise DataError("bars: not there;\n want a folder")


def fails() -> Outcome:
    raise ZeroDivisionError("a bug")


def test_what_is_found_comes_back() -> None:
    found = apart("fine", partial(fine, 1.5), 30)
    assert (found.name, found.ok, found.said, found.advice) == ("fine", True, "it is 1.5", "")
    assert found.figures == {"number": 1.5, "none": None}
    assert found.seconds > 0


def test_what_hangs_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    began = time.monotonic()
    found = apart("hangs", partial(hangs, str(tmp_path / "pid")), 3)
    assert time.monotonic() - began < 10
    assert not found.ok
    assert found.said == "did not end within 3 s: waiting for nobody"
    pid = int((tmp_path / "pid").read_text())
    for _ in range(50):
        if not Path(f"/proc/{pid}").exists() or "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text():
            return
        time.sleep(0.1)
    raise AssertionError("the process that it started lives on")


def test_what_crashes_says_its_last_line() -> None:
    found = apart("crashes", crashes, 30)
    assert (found.ok, found.said) == (False, "ended with code 3: about to go")


@pytest.mark.parametrize(
    ("check", "said"), [(refuses, "bars: not there; want a folder"), (fails, "ZeroDivisionError: a bug")]
)
def test_what_is_raised_is_what_is_wrong(check: object, said: str) -> None:
    found = guarded("it", check, "do this")  # type: ignore[arg-type]
    assert (found.ok, found.said, found.advice) == (False, said, "do this")


def test_it_is_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does a file of the working directory take the place of a library."""
    (tmp_path / "json.py").write_text("raise SystemExit('not this one')")
    monkeypatch.chdir(tmp_path)
    assert apart("fine", partial(fine, 2.0), 30).ok
