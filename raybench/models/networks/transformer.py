"""Transformer: the encoder of Vaswani et al. 2017 over the steps of a window, the last step to one score.

No step is masked (all are in the past of the date that is scored), and there is no decoder.
Shapes: N samples, W rows of lookback, F features, H width of the model. Parameters are named as in Qlib.
"""

from __future__ import annotations

from torch import Tensor, nn

from raybench.models.layers.encoder import EncoderLayer, EncoderNetwork


class Encoder(nn.Module):
    """Layers of self-attention, [W, N, H] -> the last step [N, H].

    Nothing depends on the last layer's other steps, so they are not computed: with two layers about half of
    the arithmetic.
    """

    def __init__(self, width: int, heads: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(width, heads, dropout) for _ in range(layers))

    def forward(self, x_WNH: Tensor) -> Tensor:
        *before, final = self.layers
        for layer in before:
            x_WNH = layer(x_WNH)
        last_1NH: Tensor = final(x_WNH, last=True)
        return last_1NH[0]


class Transformer(EncoderNetwork):
    """Score windows by the last step of the encoder; recipe "qlib": all layers start from the same random weights."""

    encoder = Encoder
