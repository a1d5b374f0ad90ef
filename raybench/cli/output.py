"""What a command says, and to whom: one summary on standard output, all else on standard error.

A command is a plain function whose first argument is an ``Output``; ``command`` adds the options that all
commands share and turns errors into exit codes: 2 and one line for what the user can put right, 130 for an
interrupt, 1 and a traceback for anything else.
"""

from __future__ import annotations

import inspect
import json
import logging
import math
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from enum import StrEnum
from functools import wraps
from typing import Annotated, Any, TextIO

import typer

from raybench.cli.progress_bars import BarProgress, LineProgress
from raybench.cli.tables import print_summary
from raybench.errors import UserError
from raybench.progress import SILENT, Progress


class ProgressMode(StrEnum):
    """How progress is shown."""

    AUTO = "auto"
    PLAIN = "plain"
    NONE = "none"


class LogLevel(StrEnum):
    """How much is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


JsonOption = Annotated[bool, typer.Option("--json", help="Print the summary as one JSON object on the last line.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Show neither progress nor notes.")]
ProgressOption = Annotated[ProgressMode, typer.Option("--progress", help="How progress is shown.")]
LogOption = Annotated[LogLevel, typer.Option("--log-level", help="How much is logged, on standard error.")]

_SHARED = {"json": (JsonOption, False), "quiet": (QuietOption, False)} | {
    "progress": (ProgressOption, ProgressMode.AUTO),
    "log_level": (LogOption, LogLevel.WARNING),
}


class Output:
    """Where a command puts its summary, its warnings and its progress."""

    def __init__(self, *, as_json: bool, quiet: bool, progress: ProgressMode, stdout: TextIO, stderr: TextIO) -> None:
        self.as_json = as_json
        self.progress: Progress = SILENT
        self._stdout = stdout
        self._stderr = stderr
        self._warnings: list[str] = []
        if not quiet and progress is not ProgressMode.NONE:
            bars = progress is ProgressMode.AUTO and stderr.isatty()
            self.progress = BarProgress(stderr) if bars else LineProgress(stderr)

    def summary(self, values: Mapping[str, Any], title: str = "") -> None:
        """Print what the command did, once, last: a table, or with --json one object on one line."""
        if self.as_json:
            plain = plain_json({**values, "warnings": values.get("warnings", self._warnings)})
            print(json.dumps(plain, ensure_ascii=False, allow_nan=False), file=self._stdout, flush=True)
        else:
            print_summary(values, title, self._stdout)

    def warn(self, text: str) -> None:
        """Say what is probably not meant; the JSON summary lists it under ``warnings``."""
        self._warnings.append(text)
        self.say(f"warning: {text}")

    def say(self, text: str) -> None:
        """Write a line to standard error, quiet or not."""
        print(text, file=self._stderr, flush=True)


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Make a function ``(out: Output, ...)`` a command with the options all commands share."""
    signature = inspect.signature(function, eval_str=True)
    own = list(signature.parameters.values())[1:]
    shared = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, (annotation, default) in _SHARED.items()
    ]

    @wraps(function)
    def run(**values: Any) -> None:
        options = {name: values.pop(name) for name in _SHARED}
        with session(**options) as out:
            function(out, **values)

    own = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own]
    run.__signature__ = signature.replace(parameters=own + shared)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in own + shared}
    return run


@contextmanager
def session(*, json: bool, quiet: bool, progress: ProgressMode, log_level: LogLevel) -> Iterator[Output]:
    """Run the body of a command: stray prints go to standard error, errors become exit codes."""
    out = Output(as_json=json, quiet=quiet, progress=progress, stdout=sys.stdout, stderr=sys.stderr)
    with ExitStack() as stack:
        stack.enter_context(redirect_stdout(sys.stderr))
        stack.enter_context(_logging(log_level))
        stack.enter_context(warnings.catch_warnings())
        if log_level is not LogLevel.DEBUG:
            warnings.simplefilter("ignore")
        try:
            yield out
        except UserError as error:
            out.say(f"error: {' '.join(str(error).split())}")
            raise typer.Exit(2) from None
        except KeyboardInterrupt:
            out.say("interrupted")
            raise typer.Exit(130) from None
        except (typer.Exit, typer.Abort, BrokenPipeError):
            raise
        except Exception:
            out.say(traceback.format_exc().rstrip())
            raise typer.Exit(1) from None


@contextmanager
def _logging(level: LogLevel) -> Iterator[None]:
    """Log to standard error while a command runs: raybench at the level asked for, others only warnings."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    root, ours = logging.getLogger(), logging.getLogger("raybench")
    before = root.level, ours.level
    number: int = getattr(logging, level.name)
    root.addHandler(handler)
    root.setLevel(number if level is LogLevel.DEBUG else max(number, logging.WARNING))
    ours.setLevel(number)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(before[0])
        ours.setLevel(before[1])


def plain_json(value: Any) -> Any:
    """Only what JSON has: NaN and infinities become null, dates ISO text, arrays lists, the rest text."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain_json(item) for key, item in value.items()}
    if isinstance(value, (Sequence, set, frozenset)) and not isinstance(value, (bytes, bytearray)):
        return [plain_json(item) for item in (sorted(value) if isinstance(value, (set, frozenset)) else value)]
    if hasattr(value, "tolist"):  # numpy
        return plain_json(value.tolist())
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return str(value)
