"""Sandwich: two encoders of KRNN's kind one on the other, the last step to one score.

Shapes: N samples, W rows of lookback, F features. Parameters are named as in Qlib (first_encoder.*,
second_encoder.*, out_fc.*).
"""

from __future__ import annotations

from torch import Tensor, nn

from raybench.models.layers.convolved import ConvolvedNetwork, Encoder


class Sandwich(ConvolvedNetwork):
    """Score windows by a second encoder of what the first returns, which is in order under recipe "qlib" too."""

    def __init__(
        self,
        num_features: int,
        cnn_dim_1: int = 64,
        cnn_dim_2: int = 32,
        cnn_kernel_size: int = 3,
        rnn_dim_1: int = 16,
        rnn_dim_2: int = 8,
        rnn_dups: int = 3,
        rnn_layers: int = 2,
        dropout: float = 0.0,
        *,
        recipe: str = "raybench",
    ) -> None:
        super().__init__(num_features, recipe)
        rest = (rnn_dups, rnn_layers, dropout)
        self.first_encoder = Encoder(num_features, cnn_dim_1, cnn_kernel_size, rnn_dim_1, *rest)
        self.second_encoder = Encoder(rnn_dim_1, cnn_dim_2, cnn_kernel_size, rnn_dim_2, *rest)
        self.out_fc = nn.Linear(rnn_dim_2, 1)

    def last(self, x_NWF: Tensor) -> Tensor:
        return self.second_encoder.last(self.first_encoder(x_NWF))
