"""Trials that are drawn before a search begins."""

from __future__ import annotations

from typing import Any

import pytest

from raybench.config import load_config
from raybench.errors import ConfigError
from raybench.search.draws import draws, told, trial_config
from tests.config.test_tune import BASE, config


def values(**tune: Any) -> list[dict[str, Any]]:
    return [dict(draw.values) for draw in draws(config(**tune))]


SPACE = {
    "model.hidden_size": {"choice": [4, 8, 16]},
    "model.dropout": {"uniform": [0.1, 0.3]},
    "train.lr": {"loguniform": [1e-4, 1e-2]},
    "train.batch_size": {"quniform": [100, 300, 100]},
    "data.step_len": {"randint": [3, 5]},
}


def test_the_seed_decides_and_every_value_is_within_its_range() -> None:
    found = values(num_samples=200, space=SPACE)
    assert found == values(num_samples=200, space=SPACE)
    assert found != values(num_samples=200, space=SPACE, search={"type": "random", "seed": 1})
    assert {each["model.hidden_size"] for each in found} == {4, 8, 16}
    assert {each["train.batch_size"] for each in found} == {100, 200, 300}
    assert {each["data.step_len"] for each in found} == {3, 4, 5}
    assert all(0.1 <= each["model.dropout"] <= 0.3 for each in found)
    rates = [each["train.lr"] for each in found]
    assert all(1e-4 <= rate <= 1e-2 for rate in rates)
    assert 60 < sum(rate < 1e-3 for rate in rates) < 140  # even on a logarithmic scale


def test_more_trials_begin_with_the_same_ones() -> None:
    assert values(num_samples=9, space=SPACE)[:4] == values(num_samples=4, space=SPACE)


def test_grid_search_tries_every_combination_once() -> None:
    space = {"model.hidden_size": {"grid": [4, 8]}, "train.lr": {"choice": [1e-3, 1e-2, 1e-1]}}
    found = values(search={"type": "grid"}, space=space)
    assert len(found) == 6
    assert len({tuple(each.items()) for each in found}) == 6


def test_a_grid_within_a_random_search_multiplies_it() -> None:
    space = {"model.hidden_size": {"grid": [4, 8]}, "model.dropout": {"uniform": [0, 0.5]}}
    found = values(num_samples=3, space=space)
    assert [each["model.hidden_size"] for each in found] == [4, 8] * 3
    assert len({each["model.dropout"] for each in found}) == 6


def test_networks_have_the_keys_that_are_theirs() -> None:
    networks = {
        "gru": {"hidden_size": {"choice": [4, 8]}},
        "tcn": {"n_chans": {"choice": [3]}, "num_layers": {"choice": [2]}},
    }
    space = {"model.type": {"choice": networks}, "train.lr": {"choice": [1e-3]}}
    found = values(num_samples=30, space=space)
    assert {each["model.type"] for each in found} == {"gru", "tcn"}
    for each in found:
        own = {"gru": {"model.hidden_size"}, "tcn": {"model.n_chans", "model.num_layers"}}[each["model.type"]]
        assert each.keys() == {"model.type", "train.lr", *own}
        assert trial_config(config(space=space), each).model.type == each["model.type"]
    assert len(values(search={"type": "grid"}, space=space)) == 3


def test_too_many_trials_are_refused_before_they_are_made() -> None:
    space = {f"model.{key}": {"grid": list(range(1, 100))} for key in ("hidden_size", "num_layers")}
    space["train.batch_size"] = {"grid": list(range(1, 1000))}
    with pytest.raises(ConfigError, match="9,791,199 trials"):
        draws(load_config({**BASE, "tune": {"search": {"type": "grid"}, "space": space}}))


def test_values_are_told_as_a_person_writes_them() -> None:
    given = {"model.hidden_size": 32, "train.lr": 0.000123456, "model.type": "gru", "train.compile": False}
    assert told(given) == "hidden_size=32, lr=0.0001235, model.type=gru, compile=false"
