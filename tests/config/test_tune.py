"""The part ``tune``: what may be searched, and what is refused before anything runs."""

from __future__ import annotations

from typing import Any

import pytest

from raybench.config import Config, load_config
from raybench.config.search_space import (
    MOST_COMBINATIONS,
    MOST_VALUES,
    combinations,
    most_epochs,
    tried,
    with_values,
)
from raybench.config.tune import QUniform, RandInt, TuneConfig, Uniform
from raybench.errors import ConfigError

BASE: dict[str, Any] = {
    "data": {
        "bars": "bars",
        "universe": "all",
        "segments": {
            "train": ["2014-01-01", "2014-06-30"],
            "valid": ["2014-07-10", "2014-09-30"],
            "test": ["2014-10-10", "2014-12-31"],
        },
    },
    "model": {"type": "gru", "hidden_size": 8},
}


def config(**tune: Any) -> Config:
    return load_config({**BASE, "tune": tune})


@pytest.mark.parametrize(
    "space",
    [
        {"model.hidden_size": {"choice": [16, 32]}},
        {"model.num_layers": {"randint": [1, 3]}},
        {"model.dropout": {"uniform": [0.0, 0.5]}},
        {"train.lr": {"loguniform": [1e-4, 1e-2]}},
        {"train.batch_size": {"quniform": [100, 800, 100]}},
        {"data.step_len": {"grid": [10, 20]}},
        {"train.early_stop.patience": {"choice": [3, 5]}},
        {"data.processors.infer": {"choice": [[], [{"class": "Fillna", "kwargs": {"fields_group": "feature"}}]]}},
        {"model": {"choice": [{"type": "gru", "hidden_size": 4}, {"type": "tcn", "n_chans": 8}]}},
        {"model.type": {"choice": ["gru", "lstm"]}, "model.hidden_size": {"choice": [4, 8]}},
        {"model.type": {"choice": ["gru", "mlp"]}, "model.num_layers": {"choice": [1, 2]}},
        {
            "model.type": {
                "choice": {"gru": {"hidden_size": {"choice": [4, 8]}}, "tcn": {"n_chans": {"randint": [4, 8]}}}
            }
        },
        {"model.type": {"choice": {"linear": None, "gru": {"train.lr": {"loguniform": [1e-4, 1e-2]}}}}},
    ],
)
def test_any_key_is_searched_and_survives_being_stored(space: dict[str, Any]) -> None:
    found = config(space=space)
    assert list(found.search_space) == list(space)
    assert load_config(found.model_dump(by_alias=True)) == found


@pytest.mark.parametrize(
    ("tune", "told"),
    [
        ({"space": {"model.hiden_size": {"choice": [4]}}}, "did you mean 'hidden_size'"),
        ({"space": {"model.n_chans": {"choice": [4]}}}, "unknown key"),
        ({"space": {"model.dropout": {"uniform": [0.5, 1.5]}}}, "cannot be 1.5"),
        ({"space": {"train.lr": {"uniform": [-0.1, 0.1]}}}, "cannot be -0.1"),
        ({"space": {"train.lr": {"loguniform": [0.0, 0.1]}}}, "starts above 0"),
        ({"space": {"model.hidden_size": {"uniform": [4, 8]}}}, "want a whole number"),
        ({"space": {"model.hidden_size": {"quniform": [4, 8, 0]}}}, "step above 0"),
        ({"space": {"model.hidden_size": {"quniform": [4, 8, 5]}}}, "within 4"),
        ({"space": {"model.hidden_size": {"quniform": [8, 4, 1]}}}, "want [low, high]"),
        ({"space": {"model.hidden_size": {"quniform": [4, 8]}}}, "quniform"),
        ({"space": {"model.hidden_size": {"randint": [8, 4]}}}, "want [low, high]"),
        ({"space": {"model.hidden_size": {"choice": []}}}, "at least 1"),
        ({"space": {"cluster.num_workers": {"choice": [1]}}}, "is not searched"),
        ({"space": {"tune.num_samples": {"choice": [1]}}}, "is not searched"),
        ({"space": {"model.type": {"choice": ["gru", "gur"]}}}, "unknown network 'gur'"),
        ({"space": {"model.type": {"choice": {"gru": {"n_chans": {"choice": [4]}}}}}}, "n_chans"),
        (
            {"space": {"model.type": {"choice": ["linear"]}, "model.hidden_size": {"choice": [4]}}},
            "none of the networks",
        ),
        ({"space": {"model.hidden_size": {"choice": {"a": {}}}}}, "want a list"),
        ({"search": {"type": "grid"}}, "is required with search grid"),
        ({"search": {"type": "grid"}, "space": {"train.lr": {"uniform": [1e-4, 1e-2]}}}, "want grid or choice"),
        ({"search": {"type": "tpe"}, "space": {"model.hidden_size": {"grid": [4, 8]}}}, "cannot go through a grid"),
        ({"search": {"type": "optuna"}, "space": {"model.hidden_size": {"grid": [4, 8]}}}, "cannot go through a grid"),
        ({"search": {"type": "tpe"}, "space": {"model": {"choice": [{"type": "gru"}]}}}, "single values"),
        ({"scheduler": {"type": "pbt"}, "space": {"model.hidden_size": {"choice": [4, 8]}}}, "cannot change while"),
        ({"scheduler": {"type": "pbt"}, "search": {"type": "tpe"}}, "want random"),
        ({"scheduler": {"type": "asa"}}, "did you mean 'asha'"),
        ({"search": {"type": "bayes"}}, "unknown type"),
        ({"metric": "loss"}, "wants mode min"),
        ({"resources_per_trial": {"cpu": 0}}, "at least 1"),
        ({"resources_per_trial": {"gpus": 1}}, "did you mean 'gpu'"),
    ],
)
def test_what_cannot_be_drawn_is_refused(tune: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as refused:
        config(**tune)
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


def test_values_that_are_right_alone_but_not_together_are_refused() -> None:
    space = {"model.d_model": {"choice": [32, 36]}, "model.nhead": {"choice": [4, 8]}}
    with pytest.raises(ConfigError) as refused:
        load_config({**BASE, "model": {"type": "transformer"}, "tune": {"space": space}})
    assert "model.d_model=36, model.nhead=8" in str(refused.value)


@pytest.mark.parametrize(
    ("model", "space", "told"),
    [
        ({"type": "krnn"}, {"model.cnn_kernel_size": {"randint": [3, 7]}}, "cannot be 4"),
        ({"type": "transformer"}, {"model.nhead": {"randint": [1, 4]}}, "nhead"),
        ({"type": "transformer"}, {"model.nhead": {"quniform": [1, 4, 1]}}, "nhead"),
        (
            {"type": "gru"},
            {"model.type": {"choice": {"gru": {}, "krnn": {"cnn_kernel_size": {"randint": [3, 5]}}}}},
            "cannot be 4",
        ),
        (
            {"type": "transformer"},
            {"model.d_model": {"quniform": [32, 48, 4]}, "model.nhead": {"choice": [4, 8]}},
            "model.d_model=36, model.nhead=8",
        ),
    ],
)
def test_values_between_the_ends_are_tried_too(model: dict[str, Any], space: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load_config({**BASE, "model": model, "tune": {"space": space, "search": {"type": "tpe"}}})
    assert told in str(refused.value)


def test_every_value_that_can_be_counted_is_tried_up_to_a_number() -> None:
    assert tried(RandInt(randint=(3, 7))) == (3, 4, 5, 6, 7)
    assert tried(Uniform(uniform=(0.0, 1.0))) == (0.0, 1.0)
    many = tried(RandInt(randint=(1, 50_000)))
    assert len(many) == MOST_VALUES
    assert {1, 50_000} <= set(many)
    assert many == tried(RandInt(randint=(1, 50_000)))


def test_all_combinations_are_tried_up_to_a_number_then_all_pairs_as_far_as_that_goes() -> None:
    few = TuneConfig(space={"a": {"choice": [1, 2]}, "b": {"uniform": [0, 1]}}).space
    assert [tuple(each.values()) for each in combinations(few)] == [(1, 0.0), (1, 1.0), (2, 0.0), (2, 1.0)]
    some = TuneConfig(space={str(n): {"choice": [1, 2, 3]} for n in range(8)}).space
    pairs = [(a, b, x, y) for a in range(8) for b in range(a) for x in (1, 2, 3) for y in (1, 2, 3)]
    drawn = list(combinations(some))
    assert len(drawn) == len(pairs)
    assert all(any(each[str(a)] == x and each[str(b)] == y for each in drawn) for a, b, x, y in pairs)
    many = TuneConfig(space={str(n): {"choice": [1, 2, 3]} for n in range(20)}).space
    assert len(list(combinations(many))) == MOST_COMBINATIONS
    assert list(combinations(many)) == list(combinations(many))


@pytest.mark.parametrize(
    ("space", "epochs"),
    [
        ({"train.lr": {"loguniform": [1e-4, 1e-2]}}, 6),
        ({"train.max_epochs": {"randint": [2, 9]}}, 9),
        ({"train.max_epochs": {"choice": [2, 3]}}, 3),
        ({"model.type": {"choice": {"gru": {}, "mlp": {"train.max_epochs": {"choice": [20, 40]}}}}}, 40),
        ({"model.type": {"choice": {"gru": {}, "mlp": {"train.max_epochs": {"choice": [2, 4]}}}}}, 6),
        ({"train": {"choice": [{"max_epochs": 7}, {"max_epochs": 11}]}}, 11),
    ],
)
def test_a_trial_has_as_many_epochs_as_its_keys_give(space: dict[str, Any], epochs: int) -> None:
    found = load_config({**BASE, "train": {"max_epochs": 6}, "tune": {"space": space}})
    assert most_epochs(found.search_space, found.train.max_epochs) == epochs


def test_another_network_begins_with_its_own_defaults_and_takes_only_keys_that_it_has() -> None:
    tree = config().model_dump(by_alias=True, exclude={"tune"})
    made = load_config(with_values(tree, {"model.type": "tcn", "model.hidden_size": 4, "model.n_chans": 12}))
    assert made.model == load_config({**BASE, "model": {"type": "tcn", "n_chans": 12}}).model
    same = load_config(with_values(tree, {"model.type": "gru", "model.dropout": 0.25}))
    assert (same.model.kwargs["hidden_size"], same.model.kwargs["dropout"]) == (8, 0.25)


def test_steps_are_whole_numbers_where_all_three_are() -> None:
    assert QUniform(quniform=(16, 64, 16)).values == (16, 32, 48, 64)
    assert all(type(value) is int for value in QUniform(quniform=(16, 64, 16)).values)
    assert QUniform(quniform=(0.1, 0.35, 0.1)).values == (0.1, 0.2, 0.3)
    assert QUniform(quniform=[0, 1, 0.5]).values == (0.0, 0.5, 1.0)
    assert RandInt(randint=(2, 4)).values == (2, 3, 4)


def test_the_default_space_has_the_keys_of_the_contract_and_only_those_that_a_network_has() -> None:
    assert set(config().search_space) == {"model.hidden_size", "model.dropout", "train.lr"}
    linear = load_config({**BASE, "model": {"type": "linear"}})
    assert set(linear.search_space) == {"train.lr"}
    assert set(config(scheduler={"type": "pbt"}).search_space) == {"model.dropout", "train.lr"}
