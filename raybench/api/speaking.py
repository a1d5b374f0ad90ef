"""What the commands and the functions have in common speaks of options; here it is told in arguments.

``--start is 'soon'`` becomes ``start= is 'soon'`` for whoever called a function, ``--overwrite`` is ``overwrite=True``.
A call with arguments that a function does not have is told in terms of that function, not of what lies below it.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

from raybench.errors import ArgumentError, UserError
from raybench.progress import SILENT, Progress

P = ParamSpec("P")
R = TypeVar("R")

_OPTION = re.compile(r"(?<![\w-])--([a-z][a-z-]*)(?: ([A-Z][A-Z_]*\b)| (\d(?:[\w.:-]*\w)?))?")
_SWITCHES = {"local": "local=True", "ray": "local=False"}
_MEANT = {"run": "model", "runs": "model", "dataset": "bars", "data": "bars", "path": "to", "dir": "out"}


def speaks_of_arguments(function: Callable[P, R]) -> Callable[P, R]:
    """Make a function's user errors name its arguments and not the options of the command of that name."""
    signature = inspect.signature(function)

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            signature.bind(*args, **kwargs)
        except TypeError as error:
            raise ArgumentError(_misfit(function.__name__, signature, len(args), kwargs, str(error))) from None
        try:
            return function(*args, **kwargs)
        except UserError as error:
            raise type(error)(in_arguments(str(error), function)) from error.__cause__

    return call


def in_arguments(text: str, function: Callable[..., Any]) -> str:
    """Write the options in a text as arguments, those that ``function`` has."""
    parameters = inspect.signature(function).parameters

    def argument(found: re.Match[str]) -> str:
        name, value = found[1].replace("-", "_"), found[3]
        if name in _SWITCHES and "local" in parameters:
            return _SWITCHES[name] + (f" {value}" if value else "")
        if name not in parameters:
            return found[0]
        if parameters[name].default is False:
            return f"{name}=True" + (f" {value}" if value else "")
        if value is None:
            return f"{name}="
        return f"{name}={value if re.fullmatch(r'[0-9.]+', value) else repr(value)}"

    return _OPTION.sub(argument, text)


def shown(progress: bool | Progress) -> Progress:
    """The progress that is asked for: True shows it on standard error, as the commands do."""
    if not isinstance(progress, bool):
        return progress
    if not progress:
        return SILENT
    from raybench.cli.progress_bars import BarProgress, LineProgress

    return BarProgress(sys.stderr) if sys.stderr.isatty() else LineProgress(sys.stderr)


def _misfit(name: str, signature: inspect.Signature, places: int, given: Mapping[str, Any], why: str) -> str:
    """Say what of a call does not fit a function, and what does."""
    parameters = signature.parameters
    by_place = [key for key, each in parameters.items() if each.kind is each.POSITIONAL_OR_KEYWORD]
    any_key = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
    unknown = [key for key in given if key not in parameters and not any_key]
    twice = [key for key in by_place[:places] if key in given]
    takes = f"it takes {', '.join(parameters)}"
    if unknown:
        near = [_MEANT.get(unknown[0], ""), *difflib.get_close_matches(unknown[0], parameters, 1)]
        meant = next((key for key in near if key in parameters), None)
        hint = f"want {meant}=; " if meant else ""
        return f"raybench.{name} has no argument {unknown[0]}=; {hint}{takes}"
    if twice:
        return (
            f"raybench.{name}: {twice[0]}= is given twice, by its place and by its name; by place come {_all(by_place)}"
        )
    if places > len(by_place):
        rest = [key for key in parameters if key not in by_place]
        return f"raybench.{name}: {places} arguments are given by place, where {_all(by_place)} come; name {_all(rest)}"
    return f"raybench.{name}: {why}; {takes}"


def _all(names: list[str]) -> str:
    return ", ".join(names)
