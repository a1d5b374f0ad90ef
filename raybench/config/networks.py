"""The networks a configuration can name: their keys, their size, what each needs. No torch.

Adding a network is one class here (its keys are Qlib's constructor argument names without the feature
count, with Qlib's defaults) and one module in ``raybench.models``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, ConfigDict, Field, SerializeAsAny

from raybench.config.strict import Count, Part, Share, nearest, problem, problem_at, show

CUSTOM_TYPE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


class ModelConfig(Part):
    """A network by name, with its own keys."""

    needs: ClassVar[str] = ""

    type: str

    @property
    def kwargs(self) -> dict[str, Any]:
        """The network's own arguments, without ``type``."""
        return self.model_dump(exclude={"type"})

    def parameter_count(self, num_features: int) -> int | None:
        """Count trainable parameters for ``num_features`` per step; None if that is not known here."""
        return None

    def floats_per_sample(self, num_features: int, step_len: int) -> int | None:
        """Estimate the floats a sample keeps from forward to backward pass, its window excluded."""
        return None


class _Recurrent(ModelConfig):
    """Stacked recurrent layers, the last step through a linear head."""

    gates: ClassVar[int]
    needs: ClassVar[str] = "windows; batches of random rows"

    hidden_size: Count = 64
    num_layers: Count = 2
    dropout: Share = 0.0

    def parameter_count(self, num_features: int) -> int:
        hidden = self.hidden_size
        inputs = [num_features] + [hidden] * (self.num_layers - 1)
        layers = sum(self.gates * hidden * (width + hidden + 2) for width in inputs)
        return layers + hidden + 1

    def floats_per_sample(self, num_features: int, step_len: int) -> int:
        # each step keeps its input projection, its gates and its state
        return step_len * self.num_layers * self.hidden_size * (2 * self.gates + 1)


class GRU(_Recurrent):
    """Gated recurrent unit (Cho et al. 2014)."""

    gates: ClassVar[int] = 3

    type: Literal["gru"] = "gru"


class LSTM(_Recurrent):
    """Long short-term memory (Hochreiter and Schmidhuber 1997)."""

    gates: ClassVar[int] = 4

    type: Literal["lstm"] = "lstm"


class CustomNetwork(ModelConfig):
    """A user's own ``module.path:Class``; every other key is an argument of its constructor."""

    model_config = ConfigDict(extra="allow")
    needs: ClassVar[str] = "an importable class, x [N, W, F] -> [N]"

    type: Annotated[str, Field(pattern=f"^{CUSTOM_TYPE.pattern}$")]


NETWORKS: Mapping[str, type[ModelConfig]] = {"gru": GRU, "lstm": LSTM}
"""Networks by the name a configuration gives them."""


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
