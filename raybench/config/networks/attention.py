"""Networks that attend to the steps of a window: alstm, transformer, localformer."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from raybench.config.common.strict import Layers, Share, Units, problem_at
from raybench.config.networks.network import ModelConfig, linear, recurrent

FEED_FORWARD = 2048  # width between the two layers of an encoder's feed-forward part, fixed in Qlib
LOCAL_KERNEL = 3  # steps that a convolution of localformer sees
GATES = {"GRU": 3, "LSTM": 4}


class ALSTM(ModelConfig):
    """Recurrent layers whose states are averaged with learnt weights over time (Feng et al. 2019)."""

    recurrent: ClassVar[bool] = True

    type: Literal["alstm"] = "alstm"
    hidden_size: Annotated[Units, Field(ge=2)] = 64
    num_layers: Layers = 2
    dropout: Share = 0.0
    rnn_type: Literal["GRU", "LSTM"] = "GRU"

    def under(self, recipe: str) -> ModelConfig:
        return self.model_copy(update={"rnn_type": "GRU"}) if recipe == "qlib" else self

    def parameter_count(self, num_features: int, step_len: int) -> int:
        hidden = self.hidden_size
        attention = linear(hidden, hidden // 2) + hidden // 2
        stacked = recurrent(GATES[self.rnn_type], hidden, hidden, self.num_layers)
        return linear(num_features, hidden) + stacked + attention + linear(2 * hidden, 1)

    def quirks(self, feature_set: str) -> tuple[str, ...]:
        if self.rnn_type == "GRU":
            return ()
        return (f"rnn_type {self.rnn_type} is ignored: the recurrent layers are a GRU",)


class _Encoding(ModelConfig):
    """Layers of self-attention over the steps of a window."""

    d_model: Units = 64
    nhead: Layers = 2
    num_layers: Layers = 2
    dropout: Share = 0.0

    @model_validator(mode="after")
    def _heads_fit(self) -> _Encoding:
        if self.d_model % 2:
            raise problem_at("d_model", text=f"want an even number (a sine and a cosine each), got {self.d_model}")
        if self.d_model % self.nhead:
            raise problem_at("nhead", text=f"want a divisor of d_model {self.d_model}, got {self.nhead}")
        return self

    def parameter_count(self, num_features: int, step_len: int) -> int:
        width = self.d_model
        attention = linear(width, 3 * width) + linear(width, width)
        feed_forward = linear(width, FEED_FORWARD) + linear(FEED_FORWARD, width)
        layer = attention + feed_forward + 2 * 2 * width  # two normalisations, each with scale and shift
        return linear(num_features, width) + self.num_layers * layer + linear(width, 1)

    def quirks(self, feature_set: str) -> tuple[str, ...]:
        if self.num_layers == 1:
            return ()
        return (f"the {self.num_layers} encoder layers start from the same random weights",)


class Transformer(_Encoding):
    """Encoder of a transformer (Vaswani et al. 2017), the last step through a linear head."""

    type: Literal["transformer"] = "transformer"


class Localformer(_Encoding):
    """Encoder with a convolution over neighbouring steps before each layer, then a GRU (Qlib's)."""

    recurrent: ClassVar[bool] = True

    type: Literal["localformer"] = "localformer"

    def parameter_count(self, num_features: int, step_len: int) -> int:
        width = self.d_model
        local = self.num_layers * linear(LOCAL_KERNEL * width, width)
        return super().parameter_count(num_features, step_len) + local + recurrent(3, width, width, self.num_layers)

    def quirks(self, feature_set: str) -> tuple[str, ...]:
        return tuple(f"{line}, and so do their convolutions" for line in super().quirks(feature_set))
