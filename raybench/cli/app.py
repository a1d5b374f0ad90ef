"""The command line: which commands there are, and what an error of usage looks like.

A command lives in its own module, which is imported when the command is named (or when all are listed),
so that ``raybench check`` never waits for torch or ray. Heavy imports belong inside the command's function.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated

import typer
from typer.main import get_command

import raybench

COMMANDS: Mapping[str, str] = {
    "demo": "demo",
    "import": "import_bars",
    "features": "features",
    "check": "check",
    "train": "train",
    "score": "score",
    "evaluate": "evaluate",
    "explain": "explain",
    "adopt": "adopt",
    "export": "export",
    "models": "models",
}
"""Module under ``raybench.cli`` of each command; a module registers its command with ``register(app)``."""


def build(only: str | None = None) -> typer.Typer:
    """Make the application with one command, or with all whose module exists."""
    app = typer.Typer(
        name="raybench",
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        help="Train Qlib's recurrent stock models on a Ray cluster and score every instrument on every date.",
    )
    app.callback()(_options)
    for name, module in COMMANDS.items():
        if only in (None, name) and importlib.util.find_spec(f"raybench.cli.{module}") is not None:
            importlib.import_module(f"raybench.cli.{module}").register(app)
    return app


def run(arguments: Sequence[str]) -> int:
    """Run one command line and give its exit code."""
    given = list(arguments) or ["--help"]
    known = given[0] in COMMANDS and importlib.util.find_spec(f"raybench.cli.{COMMANDS[given[0]]}") is not None
    command = get_command(build(given[0] if known else None))
    try:
        code = command.main(args=given, prog_name="raybench", standalone_mode=False)
    except typer.Abort:
        return 130
    except Exception as error:
        message = getattr(error, "format_message", None)  # every error of usage has it, whichever click is inside
        if message is None:
            raise
        print(f"error: {' '.join(message().split())} (see raybench --help)", file=sys.stderr)
        return 2
    return code if isinstance(code, int) else 0


def main() -> None:
    """Entry point of the console script."""
    try:
        code = run(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"raybench {raybench.__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    pass
