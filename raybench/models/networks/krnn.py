"""KRNN: a convolution over time, the mean of several GRUs, the last step to one score.

Shapes: N samples, W rows of lookback, F features, C channels, H hidden. Parameters are named as in Qlib
(encoder.cnn_encoder.conv.*, encoder.krnn_encoder.rnn_modules.<copy>.*, out_fc.*), whose network is that of
microsoft/FOST without its nodes. The convolution looks both ways inside the window, never beyond it.
"""

from __future__ import annotations

from torch import Tensor, nn

from raybench.models.layers.convolved import ConvolvedNetwork, Encoder


class KRNN(ConvolvedNetwork):
    """Score windows by one encoder.

    ``checkpoint_chunks`` > 1 trades memory for arithmetic in training, see ``last_hidden``.
    """

    def __init__(
        self,
        num_features: int,
        cnn_dim: int = 64,
        cnn_kernel_size: int = 3,
        rnn_dim: int = 64,
        rnn_dups: int = 3,
        rnn_layers: int = 2,
        dropout: float = 0.0,
        *,
        recipe: str = "raybench",
    ) -> None:
        super().__init__(num_features, recipe)
        self.encoder = Encoder(num_features, cnn_dim, cnn_kernel_size, rnn_dim, rnn_dups, rnn_layers, dropout)
        self.out_fc = nn.Linear(rnn_dim, 1)
        self.checkpoint_chunks = 1

    def last(self, x_NWF: Tensor) -> Tensor:
        return self.encoder.last(x_NWF, self.checkpoint_chunks)
