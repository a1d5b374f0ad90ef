"""What a configuration says of networks that compare the instruments of a date."""

from __future__ import annotations

import os
from typing import Any

import pytest

from raybench.config import Config, dump_config, load_config, parse_config, with_absolute_paths
from raybench.errors import ConfigError

Tree = dict[str, Any]


def test_hist_needs_concepts(tree: Tree) -> None:
    with pytest.raises(ConfigError, match=r"data\.concepts: is required by hist"):
        load_config(tree, ["model={type: hist}"])
    assert load_config(tree, ["model={type: hist}", "data.concepts=c.csv"]).data.concepts == "c.csv"


def test_concepts_that_nothing_looks_at_are_a_warning(tree: Tree) -> None:
    def found(*overrides: str) -> list[str]:
        return [text for text in load_config(tree, overrides).warnings() if "data.concepts" in text]

    assert found("data.concepts=c.csv") == ["data.concepts is not used: gru does not look at concepts"]
    assert found("data.concepts=c.csv", "model={type: hist}") == []
    assert found("data.concepts=c.csv", "model={type: 'my.net:Net'}") == []
    assert found() == []


@pytest.mark.parametrize("kind", ["gats", "hist"])
def test_where_a_training_starts_from_is_no_argument_of_the_network(tree: Tree, kind: str) -> None:
    overrides = [f"model={{type: {kind}, pretrained: runs/lstm, base_model: LSTM}}", "data.concepts=c.csv"]
    config = load_config(tree, overrides)
    assert config.model.kwargs == {"base_model": "LSTM", "hidden_size": 64, "num_layers": 2, "dropout": 0.0}
    assert parse_config(dump_config(config)) == config


def test_paths_mean_the_same_from_anywhere(tree: Tree) -> None:
    def resolved(*overrides: str) -> Config:
        return with_absolute_paths(load_config(tree, overrides))

    config = resolved("model={type: hist, pretrained: runs/lstm}", "data.concepts=c.csv")
    assert config.data.concepts == os.path.abspath("c.csv")
    assert config.model.model_dump()["pretrained"] == os.path.abspath("runs/lstm")
    config = resolved("model={type: gats, pretrained: s3://b/lstm.pkl}")
    assert config.data.concepts is None
    assert config.model.model_dump()["pretrained"] == "s3://b/lstm.pkl"
    assert resolved("model={type: gats}").model.model_dump()["pretrained"] is None
    own = resolved("model={type: 'my.net:Net', pretrained: imagenet}")
    assert own.model.kwargs == {"pretrained": "imagenet"}


@pytest.mark.parametrize(
    ("model", "features", "parameters"),
    [
        ("{type: gats, base_model: LSTM}", 20, 63_809),
        ("{type: gats, base_model: LSTM}", 6, 60_225),
        ("{type: gats}", 20, 49_985),
        ("{type: hist, base_model: LSTM}", 6, 93_572 - 12_675),
    ],
)
def test_parameter_counts_are_those_of_qlib(tree: Tree, model: str, features: int, parameters: int) -> None:
    config = load_config(tree, [f"model={model}", "data.concepts=c.csv"])
    assert config.model.parameter_count(features, 20) == parameters


def test_an_unknown_base_is_refused(tree: Tree) -> None:
    with pytest.raises(ConfigError, match=r"model\.base_model: want 'GRU' or 'LSTM', got 'gru'"):
        load_config(tree, ["model={type: gats, base_model: gru}"])
