"""What of a search is probably not meant is said, and nothing is said of what is."""

from __future__ import annotations

from typing import Any

import pytest

from raybench.config import load_config
from raybench.search.advice import advice
from tests.config.test_tune import BASE

STOP = {"metric": "rank_ic"}


def said(tune: dict[str, Any], count: int | None = 8, **train: Any) -> list[str]:
    return advice(load_config({**BASE, "train": {"early_stop": STOP, **train}, "tune": tune}), count)


def test_nothing_is_said_of_a_usual_search() -> None:
    assert said({}) == []


@pytest.mark.parametrize(
    ("tune", "count", "train", "told"),
    [
        ({}, 8, {"early_stop": {"metric": "loss"}}, "set train.early_stop.metric=rank_ic"),
        ({"space": {"data.embargo": {"choice": [2, 3]}}}, 8, {}, "different validation data"),
        (
            {"metric": "loss", "mode": "min", "space": {"data.processors.learn": {"choice": [["DropnaLabel"], []]}}},
            8,
            {"early_stop": {"metric": "loss"}},
            "not of the same scale",
        ),
        ({"search": {"type": "grid"}, "num_samples": 9, "space": {"train.lr": {"grid": [1e-3]}}}, 1, {}, "no effect"),
        ({"scheduler": {"type": "asha", "grace_period": 5}}, 8, {"max_epochs": 5}, "no trial is stopped early"),
        ({"scheduler": {"type": "hyperband"}}, 3, {"max_epochs": 9}, "none is stopped"),
        ({"scheduler": {"type": "pbt"}}, 2, {}, "trials to copy from"),
        ({"space": {"train.lr": {"uniform": [1e-5, 1e-2]}}}, 8, {}, "take loguniform"),
    ],
)
def test_what_is_probably_not_meant_is_said(tune: dict[str, Any], count: int, train: dict[str, Any], told: str) -> None:
    (line,) = said(tune, count, **train)
    assert told in line
