"""From the hidden states of a window to one vector: a weighted mean over time.

Shapes: N samples, W rows of lookback, H width of the states.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class AttentionPooling(nn.Module):
    """Weigh the rows of a window by what their states say (Yang et al. 2016): [N, W, H] -> [N, H].

        weight_t = softmax over t of context . tanh(project(h_t)),   pooled = sum over t of weight_t h_t

    The weights [N, W] are what ``weights`` returns, so a forward hook there sees them.

    >>> AttentionPooling(4)(torch.zeros(2, 5, 4)).shape
    torch.Size([2, 4])
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.project = nn.Linear(width, width)
        self.context = nn.Linear(width, 1, bias=False)  # a bias would cancel in the softmax
        self.weights = nn.Softmax(dim=1)

    def forward(self, h_NWH: Tensor) -> Tensor:
        """Return the weighted mean of the states."""
        logit_NW = self.context(torch.tanh(self.project(h_NWH)))[..., 0]
        weight_NW: Tensor = self.weights(logit_NW)
        return (weight_NW.unsqueeze(2) * h_NWH).sum(1)
