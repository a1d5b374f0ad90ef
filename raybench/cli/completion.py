"""Tab completion: what a shell asks ``raybench`` with ``_RAYBENCH_COMPLETE`` set, and the script that has it ask."""

from __future__ import annotations

import os
import sys

from raybench.cli.app import build


def complete() -> None:
    """Answer the shell, and end: the words that could follow, or the script to be read by the shell."""
    from typer._completion_classes import completion_init
    from typer.main import get_command

    completion_init()
    variable = "_RAYBENCH_COMPLETE"
    if os.environ[variable].startswith("source_"):
        print(script(os.environ[variable].partition("_")[2]))
        sys.exit(0)
    get_command(build()).main(prog_name="raybench", complete_var=variable)


def script(shell: str) -> str:
    """Return the script for bash, zsh or fish."""
    from typer._completion_shared import get_completion_script

    return get_completion_script(prog_name="raybench", complete_var="_RAYBENCH_COMPLETE", shell=shell)
