"""What a command says, and to whom: one summary on standard output, all else on standard error.

A command is a plain function whose first argument is an ``Output``; ``command`` adds the options that all
commands share and turns errors into exit codes: 2 and one line for what the user can put right, 130 for an
interrupt, 143 for SIGTERM, 1 and one line for what raybench gave up, 1 and a traceback for anything else.
"""

from __future__ import annotations

import inspect
import json
import logging
import shlex
import shutil
import sys
import textwrap
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout, suppress
from enum import StrEnum
from functools import wraps
from typing import Annotated, Any, TextIO

import typer

from raybench.cli import interrupts
from raybench.cli.json_log import JsonLog
from raybench.cli.progress_bars import BarProgress, LineProgress, LoggedProgress, StoppableProgress
from raybench.cli.tables import print_summary
from raybench.cli.visible import visible, visible_json
from raybench.cluster.ran_on import heard
from raybench.errors import RaybenchError, UserError, in_one_line
from raybench.progress import SILENT, Progress
from raybench.reports.plain import plain
from raybench.scratch import settle


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


class LogFormat(StrEnum):
    """How standard error is written."""

    TEXT = "text"
    JSON = "json"


_PANEL = "What is shown"
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print the summary as one JSON object on the last line.", rich_help_panel=_PANEL)
]
VerboseOption = Annotated[
    bool, typer.Option("--verbose", "-v", help="Print the whole summary.", rich_help_panel=_PANEL)
]
QuietOption = Annotated[
    bool, typer.Option("--quiet", "-q", help="Show neither progress nor notes.", rich_help_panel=_PANEL)
]
ProgressOption = Annotated[
    ProgressMode,
    typer.Option(
        "--progress", metavar="HOW", help="auto (a bar on a terminal), plain (lines) or none.", rich_help_panel=_PANEL
    ),
]
LogOption = Annotated[
    LogLevel,
    typer.Option("--log-level", metavar="LEVEL", help="debug, info, warning or error.", rich_help_panel=_PANEL),
]
FormatOption = Annotated[
    LogFormat,
    typer.Option("--log-format", metavar="FORMAT", help="text, or json: one object a line.", rich_help_panel=_PANEL),
]

_SHARED = {"json": (JsonOption, False), "verbose": (VerboseOption, False), "quiet": (QuietOption, False)} | {
    "progress": (ProgressOption, ProgressMode.AUTO),
    "log_level": (LogOption, LogLevel.WARNING),
    "log_format": (FormatOption, LogFormat.TEXT),
}


class Output:
    """Where a command puts its summary, its warnings and its progress."""

    def __init__(
        self, *, as_json: bool, verbose: bool, quiet: bool, progress: ProgressMode, stdout: TextIO, stderr: TextIO
    ) -> None:
        self.as_json = as_json
        self.verbose = verbose
        self.kept = ""
        self.ran_on: list[str] = []
        shown: Progress = SILENT
        self._stdout = stdout
        self._stderr = stderr
        self._warnings: list[str] = []
        if not quiet and progress is not ProgressMode.NONE:
            bars = progress is ProgressMode.AUTO and stderr.isatty()
            if isinstance(stderr, JsonLog):
                shown = LoggedProgress(stderr)
            else:
                shown = BarProgress(stderr) if bars else LineProgress(stderr)
        self._shown = shown
        self.progress: Progress = StoppableProgress(shown)

    def summary(
        self, values: Mapping[str, Any], title: str = "", *, told: Sequence[str] = (), then: Sequence[str] = ()
    ) -> None:
        """Print what the command did, once, last.

        With --json: ``values`` as one object on one line. Else the title and what is ``told`` of it, a few lines
        in plain words, and all of ``values`` with --verbose or where nothing is told. ``then``: words of the next
        command to type, such as ``("evaluate", "--scores", scores)``. Where work was done ``ran_on`` says it.
        """
        if self.ran_on:
            values = {**values, "ran_on": ", ".join(self.ran_on)}
        if self.as_json:
            self._print_json({**values, "warnings": values.get("warnings", self._warnings)})
        else:
            with _taking():
                self._tell(values, title, told, then)

    def document(self, content: Mapping[str, Any]) -> None:
        """Print what is meant for a program, as JSON: over several lines, or with --json on one."""
        self._print_json(content, indent=None if self.as_json else 2)

    def _print_json(self, content: Mapping[str, Any], indent: int | None = None) -> None:
        escaped = not _is_unicode(self._stdout)
        text = json.dumps(plain(content), ensure_ascii=escaped, allow_nan=False, indent=indent)
        with _taking():
            print("\n".join(map(visible_json, text.split("\n"))), file=self._stdout, flush=True)

    def _tell(self, values: Mapping[str, Any], title: str, told: Sequence[str], then: Sequence[str]) -> None:
        if told:
            print(visible(title), file=self._stdout)
            for line in told:
                print(self._indented(visible(line)), file=self._stdout)
        if self.verbose or not told:
            print_summary(values, "" if told else title, self._stdout)
        if then:
            print(f"next: raybench {visible(shlex.join(then))}", file=self._stdout)
        self._stdout.flush()

    def _indented(self, line: str) -> str:
        """Indent a line of the summary; on a terminal what is too long goes on below, between words."""
        if not self._stdout.isatty():
            return f"  {line}"
        lines = textwrap.TextWrapper(
            width=shutil.get_terminal_size().columns,
            initial_indent="  ",
            subsequent_indent="    ",
            break_long_words=False,
            break_on_hyphens=False,
        )
        return lines.fill(line)

    def keeps(self, text: str) -> None:
        """Say from here on, should the command be interrupted, what is kept and how to go on."""
        self.kept = text

    @contextmanager
    def keeping(self, kept: Callable[[], str]) -> Iterator[None]:
        """Do the work; should it be interrupted, say what ``kept`` finds then, unless the store does not answer."""
        try:
            yield
        except KeyboardInterrupt:
            with suppress(UserError):
                self.keeps(kept())
            raise

    def warn(self, text: str) -> None:
        """Say what is probably not meant, once; the JSON summary lists it under ``warnings``."""
        if text in self._warnings:
            return
        self._warnings.append(text)
        self.say(visible(text), "warning")

    def about(self, **facts: str | None) -> None:
        """Say what all that is logged from here on is about: a ``run``, a ``date``. Text does without."""
        if isinstance(self._stderr, JsonLog):
            self._stderr.about(**facts)

    def say(self, text: str, level: str = "info", **facts: Any) -> None:
        """Write lines to standard error, quiet or not; on a terminal above the bar, and broken between words.

        ``level``: info, or warning or error, which text begins with. ``facts`` are for a log alone.
        """
        if isinstance(self._stderr, JsonLog):
            self._stderr.put(level, text, **facts)
            return
        for line in (text if level == "info" else f"{level}: {text}").split("\n"):
            if isinstance(self._shown, BarProgress):
                self._shown.note(line)
            else:
                print(visible(line), file=self._stderr, flush=True)

    def say_what_broke(self, error: BaseException) -> None:
        """Write the traceback of what nobody foresaw."""
        text = "".join(traceback.format_exception(error)).rstrip()
        if isinstance(self._stderr, JsonLog):
            self.say(in_one_line(error), "error", exception=text)
        else:
            self.say(text)


@contextmanager
def _taking() -> Iterator[None]:
    """Say of standard output that takes nothing (a full disk) that the work itself is done."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UserError(f"all is done, but standard output takes no summary ({error.strerror})") from error


def _is_unicode(stream: TextIO) -> bool:
    return (getattr(stream, "encoding", None) or "utf-8").lower().replace("-", "").startswith("utf")


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
        with command_session(**options) as out:
            function(out, **values)

    own = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own]
    run.__signature__ = signature.replace(parameters=own + shared)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in own + shared}
    return run


@contextmanager
def command_session(
    *, json: bool, verbose: bool, quiet: bool, progress: ProgressMode, log_level: LogLevel, log_format: LogFormat
) -> Iterator[Output]:
    """Run the body of a command: stray prints go to standard error, errors become exit codes.

    ``log_format`` is known before: standard error is what it asks for already (``json_log``).
    """
    streams = {"stdout": sys.stdout, "stderr": sys.stderr}
    out = Output(as_json=json, verbose=verbose, quiet=quiet, progress=progress, **streams)
    settle()
    with ExitStack() as stack:
        out.ran_on = stack.enter_context(heard())
        stack.enter_context(redirect_stdout(sys.stderr))
        stack.enter_context(_logging(log_level))
        stack.enter_context(warnings.catch_warnings())
        if log_level is not LogLevel.DEBUG:
            warnings.simplefilter("ignore")
        try:
            yield out
        except (typer.Exit, typer.Abort, BrokenPipeError):
            raise
        except (Exception, KeyboardInterrupt) as error:
            if interrupts.received() or isinstance(error, KeyboardInterrupt):
                interrupts.on_a_line_of_its_own(interrupts.said(error, out.kept))
                raise typer.Exit(interrupts.exit_code(error)) from None
            if isinstance(error, UserError):
                out.say(" ".join(str(error).split()), "error")
                raise typer.Exit(2) from None
            foreseen = isinstance(error, RaybenchError) and not isinstance(sys.stderr, JsonLog)
            if foreseen and log_level is not LogLevel.DEBUG:
                out.say(f"{' '.join(str(error).split())} (--log-level debug shows where)", "error")
            else:
                out.say_what_broke(error)
            raise typer.Exit(1) from None


class _VisibleLines(logging.Formatter):
    """A message, and a traceback below it, with nothing in them that moves the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(map(visible, super().format(record).split("\n")))


class _Logged(logging.Handler):
    """What is logged as objects of a log, an exception in the same one."""

    def __init__(self, log: JsonLog) -> None:
        super().__init__()
        self._log = log
        self.setFormatter(logging.Formatter())

    def emit(self, record: logging.LogRecord) -> None:
        """Write one."""
        facts: dict[str, Any] = {"logger": record.name}
        if record.exc_info and self.formatter is not None:
            facts["exception"] = self.formatter.formatException(record.exc_info)
        self._log.put("error" if record.levelno >= logging.ERROR else record.levelname.lower(), _said(record), **facts)


def _said(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError):  # arguments that do not fit
        return str(record.msg)


def _handler() -> logging.Handler:
    if isinstance(sys.stderr, JsonLog):
        return _Logged(sys.stderr)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_VisibleLines("%(levelname)s %(name)s: %(message)s"))
    return handler


@contextmanager
def _logging(level: LogLevel) -> Iterator[None]:
    """Log to standard error while a command runs: raybench at the level asked for, others only warnings."""
    handler = _handler()
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
