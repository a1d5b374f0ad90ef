"""What the commands and the functions have in common speaks of options; here it is told in arguments.

``--start is 'soon'`` becomes ``start= is 'soon'`` for whoever called a function.
"""

from __future__ import annotations

import functools
import inspect
import re
import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from raybench.errors import UserError
from raybench.progress import SILENT, Progress

P = ParamSpec("P")
R = TypeVar("R")

_OPTION = re.compile(r"(?<![\w-])--([a-z][a-z-]*)(?: [A-Z][A-Z_]*\b)?")
_OTHERWISE = {"model": "models", "set": "set"}  # options that functions call something else


def speaks_of_arguments(function: Callable[P, R]) -> Callable[P, R]:
    """Make a function's user errors name its arguments and not the options of the command of that name."""
    names = frozenset(inspect.signature(function).parameters)

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except UserError as error:
            raise type(error)(in_arguments(str(error), names)) from error.__cause__

    return call


def in_arguments(text: str, names: frozenset[str]) -> str:
    """Write the options in a text as arguments, those that are among ``names``."""

    def argument(found: re.Match[str]) -> str:
        name = found[1].replace("-", "_")
        name = name if name in names else _OTHERWISE.get(name, name)
        return f"{name}=" if name in names else found[0]

    return _OPTION.sub(argument, text)


def shown(progress: bool | Progress) -> Progress:
    """The progress that is asked for: True shows it on standard error, as the commands do."""
    if not isinstance(progress, bool):
        return progress
    if not progress:
        return SILENT
    from raybench.cli.progress_bars import BarProgress, LineProgress

    return BarProgress(sys.stderr) if sys.stderr.isatty() else LineProgress(sys.stderr)
