"""How many seeds, or which: one meaning for the option of the command and the argument of the function."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from typing import SupportsIndex

from raybench.errors import ConfigError

MOST = 1000
SEEDLESS = ("linear", "persistence")
"""Networks that draw nothing at random."""

Seeds = int | str | Sequence[int]


def parse_seeds(given: Seeds, first: int = 0) -> list[int]:
    """Read a number of seeds, which are counted from ``first`` on, or a list of them: ``20``, ``0,1,2`` or ``7,``.

    In Python a number or a sequence, [7] for seed 7 alone, or that text. ConfigError for anything else.
    """
    try:
        numbers, listed = _numbers(given)
    except (TypeError, ValueError):
        raise ConfigError(f"--seeds is {given!r}; want how many, such as 20, or a list, such as 0,1,2") from None
    seeds = numbers if listed else list(range(first, first + min(numbers[0], MOST + 1)))
    if len(set(seeds)) != len(seeds) or min(seeds, default=-1) < 0 or len(seeds) > MOST:
        raise ConfigError(f"--seeds is {given!r}; want 1 to {MOST} different seeds, none below 0")
    return seeds


def _numbers(given: Seeds) -> tuple[list[int], bool]:
    """The numbers, and whether they are seeds rather than how many."""
    if isinstance(given, str):
        return [int(part) for part in given.removesuffix(",").split(",")], "," in given
    if isinstance(given, Iterable):
        return [_whole(each) for each in given], True
    return [_whole(given)], False


def _whole(number: SupportsIndex) -> int:
    if isinstance(number, bool):
        raise TypeError("no whole number")
    return operator.index(number)
