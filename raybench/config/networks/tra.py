"""TRA: predictors for several trading patterns, and a router between them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from raybench.config.common.strict import ConfigPart, Layers, NonNegative, Positive, Share, Units, problem_at
from raybench.config.data.spec import DataConfig
from raybench.config.networks.network import Misfit, ModelConfig, linear, recurrent

GATES = {"GRU": 3, "LSTM": 4}
FEED_FORWARD = 4  # width of a Transformer layer's inner layer, in units of hidden_size


class Backbone(ConfigPart):
    """What turns a window into a vector. ``rnn_arch``, ``use_attn`` are for RNN, ``num_heads`` for Transformer."""

    hidden_size: Units = 64
    num_layers: Layers = 2
    rnn_arch: Literal["GRU", "LSTM"] = "LSTM"
    use_attn: bool = True
    dropout: Share = 0.0
    num_heads: Layers = 2


class RouterConfig(ConfigPart):
    """What chooses among ``num_states`` predictors, from the backbone's vector (LR), from past losses (TPE) or both."""

    num_states: int = Field(default=3, ge=2, le=1_000)
    hidden_size: Units = 32
    rnn_arch: Literal["GRU", "LSTM"] = "LSTM"
    num_layers: Layers = 1
    dropout: Share = 0.0
    tau: Positive = 1.0
    src_info: Literal["LR", "TPE", "LR_TPE"] = "LR_TPE"


class TRA(ModelConfig):
    """Temporal Routing Adaptor (Lin et al. 2021) on a recurrent network with attention or on a Transformer.

    ``horizon``: dates until the label of a sample, and so its loss, is known.
    """

    recurrent: ClassVar[bool] = True
    needs: ClassVar[str] = "windows; batches of random rows; its own past losses, from the labels of recent dates"
    remembers: ClassVar[bool] = True
    whole_batches: ClassVar[bool] = True

    type: Literal["tra"] = "tra"
    model_type: Literal["RNN", "Transformer"] = "RNN"
    backbone: Backbone = Field(default=Backbone(), alias="model_config")  # Qlib's name is pydantic's own
    router: RouterConfig = Field(default=RouterConfig(), alias="tra_config")
    horizon: Units = 2
    lamb: NonNegative = 1.0
    rho: float = Field(default=0.99, gt=0.0, le=1.0)
    alpha: float = Field(default=0.5, ge=0.0, le=1.0)
    pretrain: bool = True

    @model_validator(mode="after")
    def _consistent(self) -> TRA:
        heads, width = self.backbone.num_heads, self.backbone.hidden_size
        if self.model_type == "Transformer" and width % heads:
            raise problem_at("model_config", "num_heads", text=f"{heads} heads do not divide hidden_size {width}")
        return self

    def misfits(self, data: DataConfig, num_workers: int | None, recipe: str) -> Iterator[Misfit]:
        """A loss must not be remembered before it is known, and some dates of a window must be known."""
        yield from super().misfits(data, num_workers, recipe)
        if data.horizon is not None and self.horizon < data.horizon:
            text = f"{self.horizon} is too early: data.label is known {data.horizon} dates later; want {data.horizon}"
            yield ("model", "horizon"), text, self.horizon
        if data.horizon is None:
            text = f"is not known: {data.label} is a column of your own, and no loss is known before its label is"
            yield ("data", "horizon"), f"{text}; want the number of bars it looks ahead", None
        if self.horizon >= data.step_len:
            text = f"want less than data.step_len {data.step_len}, the dates that are remembered, got {self.horizon}"
            yield ("model", "horizon"), text, self.horizon
        if data.residency == "streaming":
            text = "streaming has blocks of instruments, but tra remembers losses of all; want resident"
            yield ("data", "residency"), text, data.residency

    def quirks(self, feature_set: str) -> tuple[str, ...]:
        if not self._transforms or self.backbone.num_layers == 1:
            return ()
        return (f"the {self.backbone.num_layers} encoder layers start from the same random weights",)

    def parameter_count(self, num_features: int, step_len: int) -> int:
        backbone = self._transformer_size(num_features) if self._transforms else self._rnn_size(num_features)
        width, states, router = self._backbone_width, self.router.num_states, self.router
        seen = width if "LR" in router.src_info else 0
        count = backbone + linear(width, states)
        if "TPE" in router.src_info:
            seen += router.hidden_size
            count += recurrent(GATES[router.rnn_arch], states, router.hidden_size, router.num_layers)
        return count + linear(seen, states)

    @property
    def _transforms(self) -> bool:
        return self.model_type == "Transformer"

    @property
    def _backbone_width(self) -> int:
        """Numbers that the backbone makes of a window."""
        return self.backbone.hidden_size * (2 if self.backbone.use_attn and not self._transforms else 1)

    def _rnn_size(self, num_features: int) -> int:
        keys, hidden = self.backbone, self.backbone.hidden_size
        count = recurrent(GATES[keys.rnn_arch], min(num_features, hidden), hidden, keys.num_layers)
        if hidden < num_features:
            count += linear(num_features, hidden)
        return count + (linear(hidden, hidden) + hidden if keys.use_attn else 0)

    def _transformer_size(self, num_features: int) -> int:
        hidden, inner = self.backbone.hidden_size, FEED_FORWARD * self.backbone.hidden_size
        attention = 4 * linear(hidden, hidden)
        layer = attention + linear(hidden, inner) + linear(inner, hidden) + 4 * hidden
        return linear(num_features, hidden) + self.backbone.num_layers * layer
