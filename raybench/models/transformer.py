"""Transformer: the encoder of Vaswani et al. 2017 over the steps of a window, the last step to one score.

No step is masked (all are in the past of the date that is scored), and there is no decoder.
Shapes: N samples, W rows of lookback, F features, H width of the model. Parameters are named as in Qlib.
"""

from __future__ import annotations

from torch import Tensor, nn

from raybench.models.encoder import EncoderLayer, PositionalEncoding, equal_starts
from raybench.models.layout import as_windows


class Transformer(nn.Module):
    """Score windows [N, W, F] (or Alpha360's flat rows [N, F*W]) -> [N], W up to ``step_len``.

    ``recipe`` "qlib": all layers start from the same random weights.
    """

    qlib_dead_layers = ("encoder_layer.", "pos_encoder.")  # the prototype of the layers; a table of constants

    def __init__(
        self,
        num_features: int,
        d_model: int = 64,
        nhead: int = 2,
        num_layers: int = 2,
        dropout: float = 0.0,
        *,
        step_len: int,
        recipe: str = "raybench",
    ) -> None:
        super().__init__()
        self.feature_layer = nn.Linear(num_features, d_model)
        self.pos_encoder = PositionalEncoding(step_len, d_model)
        self.transformer_encoder = Encoder(d_model, nhead, num_layers, dropout)
        self.decoder_layer = nn.Linear(d_model, 1)
        if recipe == "qlib":
            equal_starts(self.transformer_encoder.layers)

    def forward(self, x: Tensor) -> Tensor:
        x_NWF = as_windows(x, self.feature_layer.in_features)
        x_WNH = self.pos_encoder(self.feature_layer(x_NWF).transpose(0, 1))
        score_N1: Tensor = self.decoder_layer(self.transformer_encoder(x_WNH))
        return score_N1[:, 0]


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
