"""GATs: each instrument's hidden state is joined by an attention-weighted mean of all of its date.

    e_ij = LeakyReLU(a . [V h_j ; V h_i])      a graph attention layer (Velickovic et al. 2018) with one head on
    w_ij = softmax over j of e_ij              the complete graph of a date, each instrument its own neighbour too
    g_i  = h_i + sum over j of w_ij h_j        of the states as they are, not of V h_j: as Qlib does
    score_i = fc_out(LeakyReLU(fc(g_i)))

With a = [a_1 ; a_2] the logit is a_1 . V h_j + a_2 . V h_i: two numbers per instrument and their sums in one
[M, M] table per date, never the pairs themselves.

Shapes: N samples, D dates of at most M instruments, W window, F features, H hidden. Parameters are named as in
Qlib (rnn.*, transformation.*, a, fc.*, fc_out.*).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from raybench.models.layers.cross_section import CrossSectionNetwork, DateBlock, MaskedSoftmax


class GATs(CrossSectionNetwork):
    """Score windows [N, W, F] (or Alpha360's flat rows [N, F*W]) of whole dates -> [N].

    ``sizes``: how many samples each date has, one date after the other; None: all are one date. ``attention``
    gives the weights w_ij as [D, M, M].
    """

    def add_layers(self, hidden_size: int) -> None:
        self.transformation = nn.Linear(hidden_size, hidden_size)
        self.a = nn.Parameter(torch.randn(2 * hidden_size, 1))
        self.attention = MaskedSoftmax()
        self.fc = nn.Linear(hidden_size, hidden_size)
        self.fc_out = nn.Linear(hidden_size, 1)

    def forward(self, x: Tensor, sizes: tuple[int, ...] | None = None) -> Tensor:
        hidden_NH = self.states(x)
        dates = DateBlock.of(sizes, hidden_NH)
        around_NH = dates.join(self._around(dates.pad(hidden_NH), dates.present_D1M))
        score_N1: Tensor = self.fc_out(leaky_relu(self.fc(around_NH + hidden_NH)))
        return score_N1[:, 0]

    def _around(self, hidden_DMH: Tensor, present_D1M: Tensor | None) -> Tensor:
        """Weigh the instruments of each date for each of them -> [D, M, H]."""
        other_H, own_H = self.a[:, 0].chunk(2)
        turned_DMH = self.transformation(hidden_DMH)
        logit_DMM = (turned_DMH @ other_H)[:, None, :] + (turned_DMH @ own_H)[:, :, None]
        # in place: of the [M, M] tables only this one and the weights are kept for the backward pass
        weight_DMM = self.attention(leaky_relu(logit_DMM, inplace=True), present_D1M)
        around_DMH: Tensor = weight_DMM @ hidden_DMH
        return around_DMH
