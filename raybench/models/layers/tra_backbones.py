"""What TRA extends: networks that turn windows into one vector each, as Qlib has them.

Shapes: N samples, W rows of lookback, F features, H hidden. Parameters are named as in Qlib.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from raybench.models.layers.cells import Mode
from raybench.models.layers.encoder import equal_starts, sinusoids
from raybench.models.layers.recurrence import make_rnn, run
from raybench.models.layers.regularisation import State

FEED_FORWARD = 4  # width of a Transformer layer's inner layer, in units of H


def mean_state(state: State) -> Tensor:
    """Return the last hidden states [layers, N, H] averaged over the layers [N, H]."""
    h_LNH = state[0] if isinstance(state, tuple) else state
    return h_LNH.mean(dim=0)


class RecurrentBackbone(nn.Module):
    """A recurrent network, and beside its last state a mean of its outputs weighted by attention.

    With outputs h_t: a = softmax over t of u . tanh(W h_t + b); [N, W, F] -> [N, 2H], the mean of the layers' last
    states and sum_t a_t h_t (without ``use_attn`` the former alone). More features than H are projected to H first.
    """

    def __init__(
        self,
        num_features: int,
        *,
        hidden_size: int,
        num_layers: int,
        rnn_arch: Mode,
        use_attn: bool,
        dropout: float,
    ) -> None:
        super().__init__()
        self.input_proj = nn.Linear(num_features, hidden_size) if hidden_size < num_features else None
        inputs = min(num_features, hidden_size)
        self.rnn = make_rnn(rnn_arch, inputs, hidden_size, num_layers, dropout=dropout)
        self.output_size = hidden_size
        self.use_attn = use_attn
        if use_attn:
            self.W = nn.Linear(hidden_size, hidden_size)
            self.u = nn.Linear(hidden_size, 1, bias=False)
            self.output_size = 2 * hidden_size

    def forward(self, x_NWF: Tensor) -> Tensor:
        if self.input_proj is not None:
            x_NWF = self.input_proj(x_NWF)
        h_NWH, state = run(self.rnn, x_NWF)
        last_NH = mean_state(state)
        if not self.use_attn:
            return last_NH
        weight_NW1 = self.u(self.W(h_NWH).tanh()).softmax(dim=1)
        return torch.cat([last_NH, (h_NWH * weight_NW1).sum(dim=1)], dim=1)


class TransformerBackbone(nn.Module):
    """A Transformer encoder (post-norm, no mask); its output at the newest row, [N, W, F] -> [N, H].

    Sinusoidal positions are added to the features themselves, before their projection to H. Time comes first
    inside, see ``models.layers.encoder``. ``equal_layers``: all layers start from the weights of one, as in Qlib.
    """

    position_W1F: Tensor

    def __init__(
        self,
        num_features: int,
        step_len: int,
        *,
        hidden_size: int,
        num_layers: int,
        num_heads: int,
        dropout: float,
        equal_layers: bool,
    ) -> None:
        super().__init__()
        even = num_features + num_features % 2  # a sine and a cosine each
        position_W1F = sinusoids(step_len, even)[:, None, :num_features].contiguous()
        self.register_buffer("position_W1F", position_W1F, persistent=False)
        self.dropout = nn.Dropout(dropout)
        self.input_proj = nn.Linear(num_features, hidden_size)
        layers = [
            nn.TransformerEncoderLayer(hidden_size, num_heads, FEED_FORWARD * hidden_size, dropout)
            for _ in range(num_layers)
        ]
        self.encoder = nn.ModuleDict({"layers": nn.Sequential(*layers)})
        self.output_size = hidden_size
        if equal_layers:
            equal_starts(nn.ModuleList(layers))

    def forward(self, x_NWF: Tensor) -> Tensor:
        x_WNF = self.dropout(x_NWF.transpose(0, 1) + self.position_W1F)
        h_WNH: Tensor = self.encoder["layers"](self.input_proj(x_WNF))
        return h_WNH[-1]
