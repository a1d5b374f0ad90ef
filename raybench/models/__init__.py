"""The networks: x [N, W, F] -> score [N]. One network per file, no loop and no input or output here.

Shapes: N samples, W rows of lookback (oldest first), F features. Networks expect finite inputs:
the processors have filled what was missing.

A constructor takes the number of features, then its keys by name; ``step_len``, ``recipe`` and ``columns`` (the
names of the features in a row of a window) are passed to those that have such an argument, as is
``second_features``, the number of features of a second window, None if there is none. A network with the
class attribute ``batches = "dates"`` compares the instruments of a date: it is called as network(x, sizes), where
the N samples are one date after the other, ``sizes`` long; without ``sizes`` all N are one date. A network with
the attribute ``fitting`` finds it True while it is trained and validated, and False when it scores. A network with
the method ``fit_directly`` takes no gradient steps (see ``models.interface.direct``).

    network = build({"type": "gru"}, feature_set={"type": "alpha360"}, step_len=60)
    load_qlib_state(network, read_weights("csi300_gru.pkl"))
    score_N = network(x_NWF)
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError
from torch import nn

from raybench.config.data.alpha_names import ALPHA158_NAMES, ALPHA360_FIELDS
from raybench.config.networks import AnyNetwork, CustomNetwork, ModelConfig
from raybench.errors import ConfigError
from raybench.models.custom import build_custom
from raybench.models.layers.layout import unflatten_alpha360
from raybench.models.networks.alstm import ALSTM
from raybench.models.networks.gats import GATs
from raybench.models.networks.gru import GRU
from raybench.models.networks.hist import HIST
from raybench.models.networks.krnn import KRNN
from raybench.models.networks.lightgbm import LightGBM
from raybench.models.networks.linear import Linear
from raybench.models.networks.localformer import Localformer
from raybench.models.networks.lstm import LSTM
from raybench.models.networks.mlp import MLP
from raybench.models.networks.persistence import Persistence
from raybench.models.networks.sandwich import Sandwich
from raybench.models.networks.tabnet import TabNet
from raybench.models.networks.tcn import TCN
from raybench.models.networks.tra import TRA
from raybench.models.networks.transformer import Transformer
from raybench.models.weights import load_qlib_state, read_weights

__all__ = [
    "MODELS",
    "build",
    "load_qlib_state",
    "num_features",
    "precision",
    "read_weights",
    "takes_dates",
    "unflatten_alpha360",
    "weights",
]

RECIPES = ("raybench", "qlib")
GIVEN = ("step_len", "recipe", "columns", "second_features")

MODELS: Mapping[str, type[nn.Module]] = {
    "gru": GRU,
    "lstm": LSTM,
    "alstm": ALSTM,
    "transformer": Transformer,
    "localformer": Localformer,
    "tcn": TCN,
    "krnn": KRNN,
    "gats": GATs,
    "hist": HIST,
    "tra": TRA,
    "tabnet": TabNet,
    "sandwich": Sandwich,
    "mlp": MLP,
    "linear": Linear,
    "lightgbm": LightGBM,
    "persistence": Persistence,
}
"""Networks by name; ``config.networks`` has their keys."""


def build(
    model: Mapping[str, Any],
    *,
    feature_set: Mapping[str, Any],
    step_len: int,
    recipe: str = "raybench",
    second_features: int | None = None,
) -> nn.Module:
    """Make the network that a configuration's ``model`` asks for, with fresh weights.

    It maps windows [N, step_len, F] to scores [N], where F follows from ``feature_set``. ``recipe`` is for
    networks that Qlib gets wrong: "qlib" is then wrong in the same way. A type ``module.path:Class`` is imported.
    ``second_features``: windows of that many features come beside the first (data.second).
    """
    if step_len < 1:
        raise ConfigError(f"data.step_len: want at least 1 row per window, got {step_len}")
    if recipe not in RECIPES:
        raise ConfigError(f"recipe: want {' or '.join(RECIPES)}, got {recipe!r}")
    keys = _validated(model)
    offered = dict(zip(GIVEN, (step_len, recipe, feature_names(feature_set), second_features), strict=True))
    if isinstance(keys, CustomNetwork):
        return build_custom(keys.type, keys.kwargs, num_features(feature_set), step_len=step_len, offered=offered)
    if keys.type not in MODELS:
        raise ConfigError(f"model.type: want one of {', '.join(MODELS)}, got {keys.type!r}")
    network = MODELS[keys.type]
    wanted = inspect.signature(network.__init__).parameters
    given = {name: value for name, value in offered.items() if name in wanted}
    if second_features is not None and "second_features" not in given:
        raise ConfigError(f"data.second: network {keys.type} takes one window; want null")
    return network(num_features(feature_set), **keys.kwargs, **given)


def takes_dates(network: nn.Module) -> bool:
    """Say whether a network is to be given whole dates, not windows of any."""
    return getattr(network, "batches", "windows") == "dates"


def num_features(feature_set: Mapping[str, Any]) -> int:
    """Count the features per row of a window, F: the columns chosen, or all that the set has."""
    return len(feature_names(feature_set))


def feature_names(feature_set: Mapping[str, Any]) -> tuple[str, ...]:
    """Name the features of a row [F] in their order; those of Alpha360 are its six fields."""
    kind, columns = feature_set.get("type"), feature_set.get("columns")
    if kind == "alpha360":
        return ALPHA360_FIELDS
    if columns:
        return tuple(columns)
    if kind == "alpha158":
        return ALPHA158_NAMES
    raise ConfigError(f"data.feature_set: columns are needed to size a network for {kind!r}")


def _validated(model: Mapping[str, Any]) -> ModelConfig:
    try:
        network: ModelConfig = TypeAdapter(AnyNetwork).validate_python(model)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(["model", *map(str, first["loc"])])
        raise ConfigError(f"{key}: {first['msg']}") from None
    return network
