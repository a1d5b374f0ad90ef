"""How many seeds, or which."""

from __future__ import annotations

import pytest

from raybench.cli.train import parse_seeds
from raybench.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "first", "seeds"),
    [
        ("3", 0, [0, 1, 2]),
        ("2", 40, [40, 41]),
        ("1", 7, [7]),
        ("7,", 0, [7]),
        ("5,2", 9, [5, 2]),
        (" 4 , 1", 0, [4, 1]),
    ],
)
def test_a_number_is_how_many_and_a_list_which(text: str, first: int, seeds: list[int]) -> None:
    assert parse_seeds(text, first) == seeds


@pytest.mark.parametrize("text", ["", "0", "-1", "a", "1,1", "1,-2", "1.5", "1,,2", ",", "99999999999"])
def test_others_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--seeds is .*; want"):
        parse_seeds(text)
