"""Recurrent networks: gru, lstm."""

from __future__ import annotations

from typing import ClassVar, Literal

from raybench.config.common.strict import Layers, Share, Units
from raybench.config.networks.network import ModelConfig, linear, recurrent


class _Recurrent(ModelConfig):
    """Stacked recurrent layers, the last step through a linear head; the keys from ``pooling`` on are not Qlib's."""

    recurrent: ClassVar[bool] = True
    takes_second: ClassVar[bool] = True
    gates: ClassVar[int]
    cell_norms: ClassVar[int]  # values per hidden unit that layer_norm adds beside the gates' gains

    hidden_size: Units = 64
    num_layers: Layers = 2
    dropout: Share = 0.0
    pooling: Literal["last", "attention"] = "last"
    variational_dropout: Share = 0.0
    recurrent_dropconnect: Share = 0.0
    zoneout: Share = 0.0
    layer_norm: bool = False
    bidirectional: bool = False

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    def _widths(self, num_features: int) -> list[int]:
        """Width of each layer's input."""
        return [num_features] + [self.hidden_size * self._directions] * (self.num_layers - 1)

    def parameter_count(self, num_features: int, step_len: int) -> int:
        top = self.hidden_size * self._directions
        norms = self.hidden_size * (2 * self.gates + self.cell_norms) if self.layer_norm else 0
        layers = sum(recurrent(self.gates, width, self.hidden_size, 1) + norms for width in self._widths(num_features))
        pool = linear(top, top) + top if self.pooling == "attention" else 0
        return self._directions * layers + pool + linear(top, 1)

    def second_parameters(self, num_features: int) -> int:
        # the same layers once more, and a weight of the head for each unit on top, but no bias
        return self.parameter_count(num_features, 1) - 1


class GRU(_Recurrent):
    """Gated recurrent unit (Cho et al. 2014)."""

    gates: ClassVar[int] = 3
    cell_norms: ClassVar[int] = 0

    type: Literal["gru"] = "gru"


class LSTM(_Recurrent):
    """Long short-term memory (Hochreiter and Schmidhuber 1997)."""

    gates: ClassVar[int] = 4
    cell_norms: ClassVar[int] = 2

    type: Literal["lstm"] = "lstm"
