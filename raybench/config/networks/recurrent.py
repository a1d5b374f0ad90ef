"""Recurrent networks: gru, lstm."""

from __future__ import annotations

from typing import ClassVar, Literal

from raybench.config.networks.network import ModelConfig, linear, recurrent
from raybench.config.strict import Count, Share


class _Recurrent(ModelConfig):
    """Stacked recurrent layers, the last step through a linear head."""

    gates: ClassVar[int]

    hidden_size: Count = 64
    num_layers: Count = 2
    dropout: Share = 0.0

    def parameter_count(self, num_features: int, step_len: int) -> int:
        return recurrent(self.gates, num_features, self.hidden_size, self.num_layers) + linear(self.hidden_size, 1)

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
