"""The networks a configuration can name: their keys, their size, what each is given. No torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, ConfigDict, Field, SerializeAsAny

from raybench.config.common.strict import nearest, problem, problem_at, show
from raybench.config.networks.attention import ALSTM, Localformer, Transformer
from raybench.config.networks.baselines import LightGBM, Linear, Persistence
from raybench.config.networks.convolution import KRNN, TCN, Sandwich
from raybench.config.networks.cross_section import HIST, GATs
from raybench.config.networks.mlp import MLP
from raybench.config.networks.network import Batches, ModelConfig
from raybench.config.networks.recurrent import GRU, LSTM
from raybench.config.networks.tabnet import TabNet
from raybench.config.networks.tra import TRA

__all__ = [
    "CUSTOM_TYPE",
    "NETWORKS",
    "AnyNetwork",
    "Batches",
    "CustomNetwork",
    "ModelConfig",
    "attention",
    "baselines",
    "meanings",
    "network",
    "parse_network",
]

CUSTOM_TYPE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")

NETWORKS: Mapping[str, type[ModelConfig]] = {
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
"""Networks by the name a configuration gives them."""


class CustomNetwork(ModelConfig):
    """A user's own ``module.path:Class``; every other key is an argument of its constructor."""

    model_config = ConfigDict(extra="allow")
    takes_second: ClassVar[bool] = True  # whether it does is known when it is built
    needs: ClassVar[str] = "an importable class, x [N, W, F] -> [N]"

    type: Annotated[str, Field(pattern=f"^{CUSTOM_TYPE.pattern}$")]


def parse_network(value: Any) -> ModelConfig:
    """Validate a ``model`` mapping against the keys of the network it names."""
    if isinstance(value, ModelConfig):
        return value
    if not isinstance(value, Mapping):
        raise problem(f"want a mapping such as {{type: gru, hidden_size: 64}}, got {show(value)}")
    kind = value.get("type")
    if isinstance(kind, str) and kind in NETWORKS:
        return NETWORKS[kind].model_validate(value)
    if isinstance(kind, str) and CUSTOM_TYPE.fullmatch(kind):
        return CustomNetwork.model_validate(value)
    if kind is None:
        known = ", ".join(sorted(NETWORKS))
        raise problem_at("type", text=f"is required (one of {known}, or module.path:Class)")
    hint = nearest(kind, NETWORKS)
    raise problem_at("type", text=f"unknown network {kind!r}; {hint} (your own: module.path:Class)", given=kind)


AnyNetwork = Annotated[SerializeAsAny[ModelConfig], BeforeValidator(parse_network)]
