"""What ``gru`` and ``lstm`` are: recurrent layers over the window, a summary of their states, one score.

Shapes: N samples, W rows of lookback, F features, H hidden, D directions. Parameters are named as in Qlib
(rnn.*, fc_out.*); options add to them.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from raybench.errors import ConfigError
from raybench.models.layers.cells import Mode
from raybench.models.layers.layout import as_windows
from raybench.models.layers.pooling import AttentionPooling
from raybench.models.layers.recurrence import all_hidden, last_hidden, make_rnn


class RecurrentNetwork(nn.Module):
    """Score windows [N, W, F] (or Alpha360's flat rows [N, F*W]) -> [N].

    ``pooling``: the head is given the last hidden state, or the mean of all weighted by attention, see
    ``AttentionPooling``. ``bidirectional``: a second set of layers reads the window from its newest row to its
    oldest; nothing after the window is seen. The other options are those of ``RegularisedRNN``. With all of them
    off this is Qlib's network, run by torch's own nn.GRU or nn.LSTM.

    ``second_features`` G: every sample has a second window ``second`` [N, V, G] of any length, read by layers of its
    own that are made alike; the head is given both summaries side by side. Without it none of these exist.

    ``checkpoint_chunks`` > 1 trades memory for arithmetic in training, see ``recurrence``; not if bidirectional.
    """

    mode: ClassVar[Mode]

    def __init__(
        self,
        num_features: int,
        hidden_size: int = 64,
        num_layers: int = 2,
        dropout: float = 0.0,
        pooling: Literal["last", "attention"] = "last",
        variational_dropout: float = 0.0,
        recurrent_dropconnect: float = 0.0,
        zoneout: float = 0.0,
        layer_norm: bool = False,
        bidirectional: bool = False,
        second_features: int | None = None,
    ) -> None:
        super().__init__()

        def layers(inputs: int) -> nn.RNNBase:
            return make_rnn(
                self.mode,
                inputs,
                hidden_size,
                num_layers,
                dropout=dropout,
                bidirectional=bidirectional,
                variational_dropout=variational_dropout,
                recurrent_dropconnect=recurrent_dropconnect,
                zoneout=zoneout,
                layer_norm=layer_norm,
            )

        width = hidden_size * (2 if bidirectional else 1)
        windows = 1 if second_features is None else 2
        self.rnn = layers(num_features)
        self.fc_out = nn.Linear(windows * width, 1)
        self.pool = AttentionPooling(width) if pooling == "attention" else None
        self.second_rnn = None if second_features is None else layers(second_features)
        self.second_pool = AttentionPooling(width) if pooling == "attention" and windows == 2 else None
        self.extra_inputs: dict[str, tuple[int | None, ...]] = (
            {} if second_features is None else {"second": (None, second_features)}
        )
        self._checkpoint_chunks = 1

    @property
    def checkpoint_chunks(self) -> int:
        """Stretches of time that training computes again in the backward pass; 1: nothing is computed again."""
        return self._checkpoint_chunks

    @checkpoint_chunks.setter
    def checkpoint_chunks(self, chunks: int) -> None:
        if chunks > 1 and self.rnn.bidirectional:
            raise ConfigError(
                "train.activation_checkpoint cuts the window into stretches of time, which model.bidirectional reads "
                "from both ends; set one of the two to false"
            )
        self._checkpoint_chunks = chunks

    def forward(self, x: Tensor, second: Tensor | None = None) -> Tensor:
        h_NH = self._summary(self.rnn, self.pool, as_windows(x, self.rnn.input_size))
        if self.second_rnn is not None:
            if second is None:
                raise ConfigError("data.second: the network was called without its second window")
            h_NH = torch.cat([h_NH, self._summary(self.second_rnn, self.second_pool, second)], dim=1)
        score_N1: Tensor = self.fc_out(h_NH)
        return score_N1[:, 0]

    def _summary(self, rnn: nn.RNNBase, pool: AttentionPooling | None, x_NWF: Tensor) -> Tensor:
        """Reduce a window to what the head is given [N, D*H]."""
        if pool is None:
            return last_hidden(rnn, x_NWF, self.checkpoint_chunks)
        pooled_NH: Tensor = pool(all_hidden(rnn, x_NWF, self.checkpoint_chunks))
        return pooled_NH
