"""What ``build`` refuses, and that every configurable network is there."""

from __future__ import annotations

from typing import Any

import pytest

from raybench.config.networks import NETWORKS
from raybench.errors import ConfigError
from raybench.models import MODELS, build, num_features

ALPHA360 = {"type": "alpha360"}
OTHER_KEYS: dict[str, dict[str, Any]] = {  # than the defaults, with which test_oracle.py counts
    "gru": {"hidden_size": 24, "num_layers": 3},
    "lstm": {"hidden_size": 24, "num_layers": 3},
    "alstm": {"hidden_size": 25, "num_layers": 3, "rnn_type": "LSTM"},
    "transformer": {"d_model": 24, "nhead": 3, "num_layers": 3},
    "localformer": {"d_model": 24, "nhead": 3, "num_layers": 3},
}


def test_every_configurable_network_is_built() -> None:
    assert set(MODELS) == set(NETWORKS)


@pytest.mark.parametrize("kind", sorted(MODELS))
def test_promised_size_is_the_real_one(kind: str) -> None:
    """``raybench check`` counts parameters without torch."""
    keys = {"type": kind, **OTHER_KEYS.get(kind, {})}
    network = build(keys, feature_set=ALPHA360, step_len=60)
    promised = NETWORKS[kind].model_validate(keys).parameter_count(6, 60)
    assert promised == sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("feature_set", "expected"),
    [
        ({"type": "alpha158"}, 158),
        ({"type": "alpha158", "columns": None}, 158),
        ({"type": "alpha158", "columns": ["KLEN", "KLOW"]}, 2),
        ({"type": "alpha360"}, 6),
        ({"type": "table", "columns": ["mine"]}, 1),
    ],
)
def test_features_per_row(feature_set: dict[str, Any], expected: int) -> None:
    assert num_features(feature_set) == expected


@pytest.mark.parametrize(
    ("model", "changes", "key"),
    [
        ({"type": "gruu"}, {}, "model.type"),
        ({}, {}, "model.type"),
        ({"type": "gru", "hidden": 3}, {}, "model.hidden"),
        ({"type": "gru", "hidden_size": "64"}, {}, "model.hidden_size"),
        ({"type": "gru"}, {"feature_set": {"type": "table"}}, "data.feature_set"),
        ({"type": "gru"}, {"step_len": 0}, "data.step_len"),
        ({"type": "gru"}, {"recipe": "quilb"}, "recipe"),
    ],
)
def test_errors_name_the_key(model: dict[str, Any], changes: dict[str, Any], key: str) -> None:
    asked: dict[str, Any] = {"feature_set": ALPHA360, "step_len": 60, **changes}
    with pytest.raises(ConfigError) as caught:
        build(model, **asked)
    assert str(caught.value).startswith(key)
    assert "\n" not in str(caught.value)
