"""ALSTM: a recurrent network whose score sees its last state and an average of all its states.

With h_t the recurrent network's state on step t of tanh(W_in x_t + b_in):

    e_t   = u . tanh(W_a h_t + b_a)
    a     = softmax over t of e
    score = w . [h_W ; sum_t a_t h_t] + b

Source: Feng et al. 2019, "Enhancing Stock Movement Prediction with Adversarial Training" (the network without
its adversarial part), with Qlib's dropout, which is before the tanh.
Shapes: N samples, W rows of lookback, F features, H hidden. Parameters are named as in Qlib.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from raybench.models.layers.cells import Mode
from raybench.models.layers.layout import as_windows
from raybench.models.layers.recurrence import all_hidden, make_rnn


class ALSTM(nn.Module):
    """Score windows [N, W, F] (or Alpha360's flat rows [N, F*W]) -> [N].

    ``recipe`` "qlib" ignores ``rnn_type``, as Qlib does: it is then always a GRU. The weights of time [N, W]
    are what ``att_softmax`` returns. ``checkpoint_chunks`` > 1 trades memory for arithmetic in training, see
    ``recurrence``.
    """

    def __init__(
        self,
        num_features: int,
        hidden_size: int = 64,
        num_layers: int = 2,
        dropout: float = 0.0,
        rnn_type: Mode = "GRU",
        recipe: str = "raybench",
    ) -> None:
        super().__init__()
        mode: Mode = "GRU" if recipe == "qlib" else rnn_type
        half = hidden_size // 2
        self.num_features = num_features
        self.net = nn.Sequential(OrderedDict(fc_in=nn.Linear(num_features, hidden_size), act=nn.Tanh()))
        self.rnn = make_rnn(mode, hidden_size, hidden_size, num_layers, dropout=dropout)
        self.fc_out = nn.Linear(2 * hidden_size, 1)
        self.att_net = nn.Sequential(
            OrderedDict(
                att_fc_in=nn.Linear(hidden_size, half),
                att_dropout=nn.Dropout(dropout),
                att_act=nn.Tanh(),
                att_fc_out=nn.Linear(half, 1, bias=False),
            )
        )
        self.att_softmax = nn.Softmax(dim=1)
        self.checkpoint_chunks = 1

    def forward(self, x: Tensor) -> Tensor:
        x_NWF = as_windows(x, self.num_features)
        h_NWH = all_hidden(self.rnn, self.net(x_NWF), self.checkpoint_chunks)
        weight_NW: Tensor = self.att_softmax(self.att_net(h_NWH)[..., 0])
        mean_NH = (weight_NW[:, :, None] * h_NWH).sum(dim=1)
        score_N1: Tensor = self.fc_out(torch.cat([h_NWH[:, -1], mean_NH], dim=1))
        return score_N1[:, 0]
