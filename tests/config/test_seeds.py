"""How many seeds, or which."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from raybench.config.seeds import Seeds, parse_seeds
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
        (3, 0, [0, 1, 2]),
        (np.int64(2), 40, [40, 41]),
        ([7], 3, [7]),
        (range(2, 4), 0, [2, 3]),
        (np.array([5, 2]), 9, [5, 2]),
    ],
)
def test_a_number_is_how_many_and_a_list_which(text: Seeds, first: int, seeds: list[int]) -> None:
    assert parse_seeds(text, first) == seeds


@pytest.mark.parametrize(
    "text",
    ["", "0", "-1", "a", "1,1", "1,-2", "1.5", "1,,2", ",", "99999999999", 0, -1, 1.5, True, [], [1, 1], [0.5], ["a"]],
)
def test_others_are_refused(text: Any) -> None:
    with pytest.raises(ConfigError, match=r"--seeds is .*; want"):
        parse_seeds(text)
