"""What transformer and localformer are made of: features at H, their positions, layers of self-attention, one score.

Shapes: W rows of lookback (oldest first), N samples, H width of the model (a multiple of the number of heads).
Inside, time comes first, [W, N, H]. With samples first, torch's attention would take another kernel in
evaluation than in training, whose scores differ in the last digits and which cannot be exported.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from raybench.config.networks.attention import FEED_FORWARD
from raybench.models.layers.layout import as_windows


def sinusoids(steps: int, width: int) -> Tensor:
    """Give each step its position as sines and cosines of falling frequency -> [steps, width].

    Column 2i of step p is sin(p / 10000^(2i / width)), column 2i + 1 the cosine of the same angle (Vaswani et
    al. 2017, section 3.5). In float32 throughout, as Qlib's weights were trained with.

    >>> sinusoids(2, 4).double().round(decimals=2).tolist()
    [[0.0, 1.0, 0.0, 1.0], [0.84, 0.54, 0.01, 1.0]]
    """
    frequency = torch.exp(torch.arange(0, width, 2).float() * (-math.log(10_000.0) / width))
    angle = torch.arange(steps).float()[:, None] * frequency
    return torch.stack([angle.sin(), angle.cos()], dim=2).reshape(steps, width)


class PositionalEncoding(nn.Module):
    """Add to every step its position: [W, N, H] -> [W, N, H], for windows of up to ``steps`` rows."""

    pe: Tensor

    def __init__(self, steps: int, width: int) -> None:
        super().__init__()
        # made once on the CPU: the same digits on every device; not stored, since it follows from its formula
        self.register_buffer("pe", sinusoids(steps, width)[:, None], persistent=False)

    def forward(self, x_WNH: Tensor) -> Tensor:
        return x_WNH + self.pe[: x_WNH.shape[0]]


class EncoderLayer(nn.Module):
    """Self-attention, then two linear layers with ReLU, each added to its input and normalised afterwards.

    Vaswani et al. 2017, section 3.1. Parameters are named as in torch.nn.TransformerEncoderLayer. To see
    attention weights, give ``self_attn`` a forward pre-hook that sets its argument ``need_weights``.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(width, heads, dropout=dropout)
        self.linear1 = nn.Linear(width, FEED_FORWARD)
        self.dropout = nn.Dropout(dropout)
        self.linear2 = nn.Linear(FEED_FORWARD, width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.dropout1, self.dropout2 = nn.Dropout(dropout), nn.Dropout(dropout)

    def forward(self, x_WNH: Tensor, last: bool = False) -> Tensor:
        """Return every step [W, N, H], or only the last [1, N, H], which still attends to every step."""
        x_QNH = x_WNH[-1:] if last else x_WNH
        attended_QNH = self.self_attn(x_QNH, x_WNH, x_WNH, need_weights=False)[0]
        y_QNH = self.norm1(x_QNH + self.dropout1(attended_QNH))
        forward_QNH = self.linear2(self.dropout(self.linear1(y_QNH).relu()))
        out_QNH: Tensor = self.norm2(y_QNH + self.dropout2(forward_QNH))
        return out_QNH


def equal_starts(modules: nn.ModuleList) -> None:
    """Give all modules the weights of the first: Qlib makes its layers as copies of one prototype."""
    for module in modules[1:]:
        module.load_state_dict(modules[0].state_dict())


class EncoderNetwork(nn.Module):
    """Score windows [N, W, F] (or Alpha360's flat rows [N, F*W]) -> [N], W up to ``step_len``.

    ``encoder``: what is put between the features with their positions and the score, made of width, heads, layers and
    dropout. ``recipe`` "qlib": in each of its lists all modules start from the same random weights.
    """

    qlib_dead_layers = ("encoder_layer.", "pos_encoder.")  # the prototype of the layers; a table of constants
    encoder: Callable[[int, int, int, float], nn.Module]

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
        self.add_first(d_model, num_layers, dropout)
        self.feature_layer = nn.Linear(num_features, d_model)
        self.pos_encoder = PositionalEncoding(step_len, d_model)
        self.transformer_encoder = self.encoder(d_model, nhead, num_layers, dropout)
        self.decoder_layer = nn.Linear(d_model, 1)
        if recipe == "qlib":
            for modules in self.transformer_encoder.children():
                if isinstance(modules, nn.ModuleList):
                    equal_starts(modules)

    def add_first(self, width: int, layers: int, dropout: float) -> None:
        """Make what Qlib draws before all else: nothing."""

    def summary(self, encoded: Tensor) -> Tensor:
        """Turn what the encoder returns into [N, H]: it is that already."""
        return encoded

    def forward(self, x: Tensor) -> Tensor:
        x_NWF = as_windows(x, self.feature_layer.in_features)
        x_WNH = self.pos_encoder(self.feature_layer(x_NWF).transpose(0, 1))
        score_N1: Tensor = self.decoder_layer(self.summary(self.transformer_encoder(x_WNH)))
        return score_N1[:, 0]
