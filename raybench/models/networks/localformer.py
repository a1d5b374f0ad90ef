"""Localformer: a transformer's encoder in which neighbouring steps are mixed before each layer, then a GRU.

With x_0 the input at H features plus its position, and conv_l a convolution over three steps (the one before,
the step itself, the one after):

    x_l   = layer_l(x_(l-1) + conv_l(x_(l-1)))        l = 1 .. L
    score = w . GRU(x_L + conv_L(x_(L-1))) + b        its last state

Source: Qlib's network of that name (J. Jiang et al.). Only the convolutions are local: attention is to every
step of the window, at quadratic cost, and no step is masked.
Shapes: N samples, W rows of lookback, F features, H width of the model. Parameters are named as in Qlib.
"""

from __future__ import annotations

from torch import Tensor, nn

from raybench.config.networks.attention import LOCAL_KERNEL
from raybench.models.layers.encoder import EncoderLayer, EncoderNetwork
from raybench.models.layers.recurrence import run


class LocalEncoder(nn.Module):
    """Layers of self-attention, each after a convolution over time: [W, N, H] -> [W, N, H]."""

    def __init__(self, width: int, heads: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(width, heads, dropout) for _ in range(layers))
        self.conv = nn.ModuleList(
            nn.Conv1d(width, width, LOCAL_KERNEL, padding=LOCAL_KERNEL // 2) for _ in range(layers)
        )

    def forward(self, x_WNH: Tensor) -> Tensor:
        local_WNH = x_WNH
        for layer, conv in zip(self.layers, self.conv, strict=True):
            local_WNH = conv(x_WNH.permute(1, 2, 0)).permute(2, 0, 1)
            x_WNH = layer(x_WNH + local_WNH)
        return x_WNH + local_WNH


class Localformer(EncoderNetwork):
    """Score windows by a GRU over what the encoder returns.

    Recipe "qlib": all layers start from the same random weights, and so do all convolutions.
    """

    encoder = LocalEncoder

    def add_first(self, width: int, layers: int, dropout: float) -> None:
        between = dropout if layers > 1 else 0.0  # torch warns of dropout between layers where there is one
        self.rnn = nn.GRU(width, width, layers, dropout=between)

    def summary(self, encoded: Tensor) -> Tensor:
        state = run(self.rnn, encoded)[1]
        assert isinstance(state, Tensor), "a GRU's"
        return state[-1]
