"""The networks: x [N, W, F] -> score [N]. One network per file, no loop and no input or output here.

Shapes: N samples, W rows of lookback (oldest first), F features. Networks expect finite inputs:
the processors have filled what was missing.

    network = build({"type": "gru"}, feature_set={"type": "alpha360"}, step_len=60)
    load_qlib_state(network, read_weights("csi300_gru.pkl"))
    score_N = network(x_NWF)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError
from torch import nn

from raybench.config.alpha_names import ALPHA158_NAMES, ALPHA360_FIELDS
from raybench.config.networks import AnyNetwork, ModelConfig
from raybench.errors import ConfigError
from raybench.models.gru import GRU
from raybench.models.layout import unflatten_alpha360
from raybench.models.lstm import LSTM
from raybench.models.weights import load_qlib_state, read_weights

__all__ = ["MODELS", "build", "load_qlib_state", "num_features", "read_weights", "unflatten_alpha360"]

RECIPES = ("raybench", "qlib")

MODELS: Mapping[str, type[nn.Module]] = {
    "gru": GRU,
    "lstm": LSTM,
}
"""Networks by name, each called as network(num_features, **keys); ``config.networks`` has their keys."""


def build(
    model: Mapping[str, Any], *, feature_set: Mapping[str, Any], step_len: int, recipe: str = "raybench"
) -> nn.Module:
    """Make the network that a configuration's ``model`` asks for, with fresh weights.

    It maps windows [N, step_len, F] to scores [N], where F follows from ``feature_set``. ``recipe`` is for
    networks that Qlib gets wrong ("qlib" is then wrong in the same way); none of those in MODELS is.
    """
    if step_len < 1:
        raise ConfigError(f"data.step_len: want at least 1 row per window, got {step_len}")
    if recipe not in RECIPES:
        raise ConfigError(f"recipe: want {' or '.join(RECIPES)}, got {recipe!r}")
    keys = _validated(model)
    if keys.type not in MODELS:
        raise ConfigError(f"model.type: want one of {', '.join(MODELS)}, got {keys.type!r}")
    return MODELS[keys.type](num_features(feature_set), **keys.kwargs)


def num_features(feature_set: Mapping[str, Any]) -> int:
    """Count the features per row of a window, F: the columns chosen, or all that the set has."""
    kind, columns = feature_set.get("type"), feature_set.get("columns")
    if kind == "alpha360":
        return len(ALPHA360_FIELDS)
    if columns:
        return len(columns)
    if kind == "alpha158":
        return len(ALPHA158_NAMES)
    raise ConfigError(f"data.feature_set: columns are needed to size a network for {kind!r}")


def _validated(model: Mapping[str, Any]) -> ModelConfig:
    try:
        network: ModelConfig = TypeAdapter(AnyNetwork).validate_python(model)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(["model", *map(str, first["loc"])])
        raise ConfigError(f"{key}: {first['msg']}") from None
    return network
