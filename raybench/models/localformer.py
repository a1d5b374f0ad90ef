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
from raybench.models.encoder import EncoderLayer, PositionalEncoding, equal_starts
from raybench.models.layout import as_windows


class Localformer(nn.Module):
    """Score windows [N, W, F] (or Alpha360's flat rows [N, F*W]) -> [N], W up to ``step_len``.

    ``recipe`` "qlib": all layers start from the same random weights, and so do all convolutions.
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
        between = dropout if num_layers > 1 else 0.0  # torch warns of dropout between layers where there is one
        self.rnn = nn.GRU(d_model, d_model, num_layers, dropout=between)
        self.feature_layer = nn.Linear(num_features, d_model)
        self.pos_encoder = PositionalEncoding(step_len, d_model)
        self.transformer_encoder = LocalEncoder(d_model, nhead, num_layers, dropout)
        self.decoder_layer = nn.Linear(d_model, 1)
        if recipe == "qlib":
            equal_starts(self.transformer_encoder.layers)
            equal_starts(self.transformer_encoder.conv)

    def forward(self, x: Tensor) -> Tensor:
        x_NWF = as_windows(x, self.feature_layer.in_features)
        x_WNH = self.pos_encoder(self.feature_layer(x_NWF).transpose(0, 1))
        h_LNH: Tensor = self.rnn(self.transformer_encoder(x_WNH))[1]
        score_N1: Tensor = self.decoder_layer(h_LNH[-1])
        return score_N1[:, 0]


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
