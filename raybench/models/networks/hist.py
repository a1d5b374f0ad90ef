"""HIST: what an instrument shares with known concepts, what it shares with its like, and the rest (Xu et al. 2021).

Of the hidden states x_i of a date, with c_ik = 1 where instrument i is in concept k:

    u_k = sum over i of x_i c_ik / (1 + sum over j of c_jk)       the state of a concept that has a member
    s_i = fc_es(sum over k of w_ik u_k)                           w_i = softmax over k of cos(x_i, u_k)
    y_i = x_i - fc_es_back(s_i)
    n_i = the other instrument with the largest cos(y_i, y_n), if that is above 0
    v_k = y_k cos(y_k, y_k) + sum over i with n_i = k of y_i cos(y_i, y_k)       for each k that is somebody's n_i
    t_i = fc_is(sum over k of w_ik v_k)                           w_i = softmax over k of cos(y_i, v_k)
    z_i = y_i - fc_is_back(t_i)
    score_i = fc_out(LeakyReLU(fc_es_fore(s_i)) + LeakyReLU(fc_is_fore(t_i)) + LeakyReLU(fc_indi(z_i)))

cos(a, b) = a . b / (|a| |b| + 1e-6). Qlib leaves concepts out that have no member by changing the shape; here
their weight is 0. No parameter depends on the number of concepts.

Shapes: N samples, D dates of at most M instruments, K concepts, W window, F features, H hidden. Parameters are
named as in Qlib; it stores six layers more, which it never uses.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from raybench.errors import ConfigError
from raybench.models.layers.cross_section import CrossSectionNetwork, DateBlock, MaskedSoftmax

TINY = 1e-6


class HIST(CrossSectionNetwork):
    """Score windows [N, W, F] (or Alpha360's flat rows [N, F*W]) of whole dates -> [N].

    ``concepts``: membership [N, K], 1 or 0 (or a weight). ``sizes``: how many samples each date has, one date
    after the other; None: all are one date. ``concept_attention`` and ``hidden_attention`` give the weights
    w_ik as [D, M, K] and [D, M, M]. Raises ConfigError when it is called without concepts.
    """

    extra_inputs: ClassVar[Mapping[str, tuple[int | None, ...]]] = {"concepts": (None,)}
    qlib_dead_layers = (
        *("fc_es_middle.", "fc_is_middle.", "fc_indi_fore."),
        *("fc_out_es.", "fc_out_is.", "fc_out_indi."),
    )

    def add_layers(self, hidden_size: int) -> None:
        self.fc_es, self.fc_is = _square(hidden_size), _square(hidden_size)
        self.fc_es_fore, self.fc_is_fore = _square(hidden_size), _square(hidden_size)
        self.fc_es_back, self.fc_is_back = _square(hidden_size), _square(hidden_size)
        self.fc_indi = _square(hidden_size)
        self.fc_out = nn.Linear(hidden_size, 1)
        self.concept_attention = MaskedSoftmax()
        self.hidden_attention = MaskedSoftmax()

    def forward(self, x: Tensor, sizes: tuple[int, ...] | None = None, concepts: Tensor | None = None) -> Tensor:
        if concepts is None:
            raise ConfigError("data.concepts: hist was called without concepts; want a table of them")
        x_NH = self.states(x)
        dates = DateBlock.of(sizes, x_NH)
        member_DMK = dates.pad(concepts.to(x_NH.dtype))
        shared_NH = self.fc_es(dates.join(self._of_concepts(dates.pad(x_NH), member_DMK)))
        rest_NH = x_NH - self.fc_es_back(shared_NH)
        alike_NH = self.fc_is(dates.join(self._of_neighbours(dates.pad(rest_NH))))
        own_NH = rest_NH - self.fc_is_back(alike_NH)
        heads = ((self.fc_es_fore, shared_NH), (self.fc_is_fore, alike_NH), (self.fc_indi, own_NH))
        es_NH, is_NH, indi_NH = (leaky_relu(layer(value_NH)) for layer, value_NH in heads)
        score_N1: Tensor = self.fc_out(es_NH + is_NH + indi_NH)
        return score_N1[:, 0]

    def _of_concepts(self, x_DMH: Tensor, member_DMK: Tensor) -> Tensor:
        """Return what each instrument takes from the known concepts of its date [D, M, H]."""
        total_D1K = member_DMK.sum(1, keepdim=True)
        share_DMK = member_DMK / (member_DMK * total_D1K + 1)
        concept_DKH = share_DMK.transpose(1, 2) @ x_DMH
        weight_DMK = self.concept_attention(_cosine(x_DMH, concept_DKH), total_D1K != 0)
        taken_DMH: Tensor = weight_DMK @ concept_DKH
        return taken_DMH

    def _of_neighbours(self, y_DMH: Tensor) -> Tensor:
        """Return what each instrument takes from those like it [D, M, H]."""
        nearest_DMM = _nearest(y_DMH.detach())
        near_DMH = nearest_DMM @ y_DMH
        length_DM = _length(y_DMH)
        likeness_DM = (y_DMH * near_DMH).sum(-1) / (length_DM * _length(near_DMH) + TINY)
        itself_DM = (y_DMH * y_DMH).sum(-1) / (length_DM * length_DM + TINY)
        chosen_DM = nearest_DMM.sum(1) > 0
        concept_DMH = nearest_DMM.transpose(1, 2) @ (likeness_DM[..., None] * y_DMH)
        concept_DMH = concept_DMH + (chosen_DM * itself_DM)[..., None] * y_DMH
        weight_DMM = self.hidden_attention(_cosine(y_DMH, concept_DMH), chosen_DM[:, None, :])
        taken_DMH: Tensor = weight_DMM @ concept_DMH
        return taken_DMH


def _square(size: int) -> nn.Linear:
    layer = nn.Linear(size, size)
    nn.init.xavier_uniform_(layer.weight)
    return layer


def _length(value_DMH: Tensor) -> Tensor:
    """Return Euclidean norms [D, M]; that of a zero vector, which padding is, has gradient 0 and not NaN."""
    square_DM = (value_DMH * value_DMH).sum(-1)
    zero_DM = square_DM == 0
    return square_DM.masked_fill(zero_DM, 1.0).sqrt().masked_fill(zero_DM, 0.0)


def _cosine(x_DMH: Tensor, y_DKH: Tensor) -> Tensor:
    """Return the cosines of all pairs [D, M, K]."""
    lengths_DMK = _length(x_DMH)[:, :, None] * _length(y_DKH)[:, None, :]
    return (x_DMH @ y_DKH.transpose(1, 2)) / (lengths_DMK + TINY)


@torch.no_grad()
def _nearest(y_DMH: Tensor) -> Tensor:
    """Mark the other instrument most like each by 1 [D, M, M]; a row has none if no cosine is above 0."""
    cosine_DMM = _cosine(y_DMH, y_DMH)
    itself_MM = torch.eye(y_DMH.shape[1], dtype=torch.bool, device=y_DMH.device)
    # padded rows have cosine 0 with everything, so they are nobody's nearest and have none
    best_DM, place_DM = cosine_DMM.masked_fill(itself_MM, 0.0).max(-1)
    found_DM1 = (best_DM > 0).to(cosine_DMM.dtype)[..., None]
    return torch.zeros_like(cosine_DMM).scatter(-1, place_DM[..., None], found_DM1)
