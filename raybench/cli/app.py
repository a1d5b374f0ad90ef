"""The command line: which commands there are, and what an error of usage looks like.

A command lives in its own module, which is imported when the command is named (or when all are listed),
so that ``raybench check`` never waits for torch or ray. Heavy imports belong inside the command's function.
This module itself loads next to nothing, so that Ctrl-C meets ``main`` and not an import that nobody guards.
"""

from __future__ import annotations

import atexit
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from raybench.cli import interrupts
from raybench.cli.json_log import JsonLog, as_asked
from raybench.cli.visible import visible

if TYPE_CHECKING:
    import typer

COMMANDS: Mapping[str, str] = {
    "demo": "demo",
    "doctor": "doctor",
    "import": "import_bars",
    "features": "features",
    "info": "info",
    "init": "init",
    "check": "check",
    "schema": "schema",
    "train": "train",
    "tune": "tune",
    "bench": "bench",
    "score": "score",
    "status": "status",
    "daily": "daily",
    "evaluate": "evaluate",
    "runs": "runs",
    "compare": "compare",
    "explain": "explain",
    "adopt": "adopt",
    "export": "export",
    "models": "models",
}
"""Module under ``raybench.cli.commands`` of each command; a module registers its command with ``register(app)``."""


def build(only: str | None = None) -> typer.Typer:
    """Make the application with one command, or with all whose module exists."""
    import typer

    from raybench.cli.usage import CommandGroup, describe

    app = typer.Typer(
        name="raybench",
        cls=CommandGroup,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        help="Train Qlib's recurrent stock models on a Ray cluster and score every instrument on every date.",
        epilog="raybench COMMAND --help shows an example of each; raybench demo goes the whole way once.",
    )
    app.callback()(_options())
    for name, module in COMMANDS.items():
        if only in (None, name) and importlib.util.find_spec(f"raybench.cli.commands.{module}") is not None:
            importlib.import_module(f"raybench.cli.commands.{module}").register(app)
    describe(app)
    return app


def run(arguments: Sequence[str]) -> int:
    """Run one command line and give its exit code."""
    with as_asked(arguments):
        code = _run(arguments)
        if isinstance(sys.stderr, JsonLog):
            sys.stderr.put("info" if code == 0 else "warning", f"ended with {code}", exit_code=code)
        return code


def _run(arguments: Sequence[str]) -> int:
    import typer
    from typer.main import get_command

    given = list(arguments) or ["--help"]
    known = given[0] in COMMANDS and importlib.util.find_spec(f"raybench.cli.commands.{COMMANDS[given[0]]}") is not None
    command = get_command(build(given[0] if known else None))
    try:
        code = command.main(args=given, prog_name="raybench", standalone_mode=False)
    except typer.Abort as stop:  # an interrupt before the command itself began
        cause = stop.__context__
        raise cause if isinstance(cause, KeyboardInterrupt) else KeyboardInterrupt from None
    except Exception as error:
        message = getattr(error, "format_message", None)  # every error of usage has it, whichever click is inside
        if message is None:
            raise
        from raybench.cli.usage import advice

        said = visible(advice(error, " ".join(message().split()), given))
        if isinstance(sys.stderr, JsonLog):
            sys.stderr.put("error", said)
        else:
            print(f"error: {said}", file=sys.stderr)
        return 2
    return code if isinstance(code, int) else 0


def main() -> None:
    """Entry point of the console script; the process that calls it ends with the code of the command."""
    end = _End()
    atexit.register(end.now)  # before every library, so that it runs after all of theirs
    with as_asked(sys.argv[1:]):
        _main(end)


def _main(end: _End) -> None:
    try:
        with interrupts.ended_by_signals():
            _open_streams()
            if "_RAYBENCH_COMPLETE" in os.environ:  # the shell asks what could be typed
                from raybench.cli.completion import complete

                complete()
            code = run(sys.argv[1:])
            sys.stdout.flush()
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except (Exception, KeyboardInterrupt) as stop:
        if not (interrupts.received() or isinstance(stop, KeyboardInterrupt)):
            raise
        interrupts.on_a_line_of_its_own(interrupts.said(stop))
        code = interrupts.exit_code(stop)
    if code in interrupts.EXIT_CODES:
        interrupts.at_once_from_now_on()
    end.code = code
    sys.exit(code)


class _End:
    """The end of the process, once threads of Python are done and what libraries registered for it has run.

    What is left, to take down interpreter and libraries piece by piece, serves nobody, and a thread of a library
    that wakes during it ends the process as if it had crashed ("terminate called without an active exception").
    """

    code: int | None = None  # unknown while a command has not come to its end

    def now(self) -> None:
        """End the process."""
        if self.code is None:
            return
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):  # nobody reads any more, or it was closed
                stream.flush()
        os._exit(self.code)


def _open_streams() -> None:
    """Let no character fail after the work is done: what an encoding lacks is shown as a question mark."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the caller
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 (it stays open)
    if hasattr(sys.stdout, "reconfigure"):  # standard error does it by itself
        sys.stdout.reconfigure(errors="replace")


def _options() -> Callable[..., None]:
    """Make the function whose arguments are the options of ``raybench`` itself."""
    from typing import Annotated

    import typer

    import raybench

    def show_version(wanted: bool) -> None:
        if wanted:
            print(f"raybench {raybench.__version__}")
            raise typer.Exit

    version = typer.Option("--version", help="Show the version and exit.", callback=show_version, is_eager=True)

    def options(version: bool = False) -> None:
        pass

    options.__annotations__["version"] = Annotated[bool, version]
    return options
