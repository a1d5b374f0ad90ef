"""Running a check in a process of its own, so that one that hangs or crashes is an outcome like any other.

What the check prints goes into a file, and is told only where it ends without an outcome. The process leads a group,
and all of the group is ended with it: Ray's processes, NCCL's.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import raybench
from raybench.cluster.health.outcome import Outcome, wrong
from raybench.errors import RaybenchError, in_one_line
from raybench.reports.plain import plain

Check = Callable[[], Outcome]
"""A check without arguments, that pickles."""

BUSY = 1.5  # processes to a core from which on a check may well be slow
GRACE_SECONDS = 2.0  # from SIGTERM to SIGKILL
_CHILD = "import sys; from raybench.cluster.health.apart import run_asked; run_asked(sys.argv[1], sys.stdin.buffer)"


def apart(name: str, check: Check, seconds: float, *, own_temporary: bool = True) -> Outcome:
    """Run a check for at most ``seconds``; ``name`` is for the outcome where it gives none.

    ``own_temporary``: what libraries leave in the folder for temporary files, such as torch's compiler, goes with it.
    """
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="raybench-") as room:
        answer, said = Path(room, "answer.json"), Path(room, "said.txt")
        with said.open("wb") as output:
            child = subprocess.Popen(
                [sys.executable, "-c", _CHILD, str(answer)],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env=_environment() | ({"TMPDIR": room} if own_temporary else {}),
                start_new_session=True,
            )
            ended = True
            try:
                child.communicate(pickle.dumps(check), timeout=seconds)
            except subprocess.TimeoutExpired:
                ended = False
            finally:
                _end(child)
        if answer.exists():
            found = Outcome(**json.loads(answer.read_bytes()))
        elif ended:
            found = wrong(name, f"ended with code {child.returncode}: {_last(said)}", "see that line for the cause")
        else:
            found = wrong(name, f"did not end within {seconds:.0f} s: {_last(said)}", _why_slow())
    return replace(found, seconds=round(time.monotonic() - began, 2))


def run_asked(answer: str, asked: Any) -> None:
    """In the process of its own: run the check that was written there, and put what it found where it is awaited."""
    check: Check = pickle.load(asked)  # our own parent's
    found = check()
    aside = Path(f"{answer}.part")
    aside.write_text(json.dumps(plain(asdict(found))), encoding="utf-8")
    aside.rename(answer)


def guarded(name: str, check: Check, advice: str) -> Outcome:
    """Run a check here; whatever it raises is what is wrong."""
    try:
        return check()
    except RaybenchError as error:
        return wrong(name, " ".join(str(error).split()), advice)
    except Exception as error:
        return wrong(name, in_one_line(error), advice)


def _environment() -> dict[str, str]:
    """So that the child finds this very package, wherever it is started."""
    own = str(Path(raybench.__file__).parents[1])
    others = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([own, *([others] if others else [])]), "PYTHONSAFEPATH": "1"}


def _end(child: subprocess.Popen[bytes]) -> None:
    """End the process and whatever it started that is in its group still."""
    for number, patience in ((signal.SIGTERM, GRACE_SECONDS), (signal.SIGKILL, GRACE_SECONDS)):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(patience)
            if number is signal.SIGKILL:
                return


def _why_slow() -> str:
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if load > BUSY * cores:
        return f"this machine is busy ({load:.0f} processes wait for {cores} cores); try again when it is not"
    return "run it again, and look at what it waits for (py-spy dump, or the logs of what it starts)"


def _last(said: Path) -> str:
    """The last line that was printed, where a traceback ends."""
    lines = said.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
