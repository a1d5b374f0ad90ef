"""Sparsemax (Martins and Astudillo 2016): a softmax whose small probabilities are exactly 0.

It is the point of the probability simplex nearest to its input: p = max(z - tau, 0), where tau makes p sum to 1.
"""

from __future__ import annotations

import torch
from torch import Tensor


def sparsemax(z: Tensor) -> Tensor:
    """Map [..., C] to probabilities [..., C] over the last dimension.

    With z sorted downwards, the support has k = max {j : 1 + j z_(j) > z_(1) + ... + z_(j)} members, and
    tau = (sum of z over the support - 1) / k. The gradient is that of the support's members less their mean.

    >>> sparsemax(torch.tensor([[2.0, 1.75, 0.0], [1.0, 1.0, 1.0]])).tolist()[0]
    [0.625, 0.375, 0.0]
    """
    z = z - z.detach().amax(dim=-1, keepdim=True)  # probabilities stay the same, sums keep their digits
    in_support = z > _threshold(z.detach())
    size = in_support.sum(dim=-1, keepdim=True)
    tau = (torch.where(in_support, z, 0.0).sum(dim=-1, keepdim=True) - 1.0) / size
    return torch.where(in_support, z - tau, 0.0)


def _threshold(z: Tensor) -> Tensor:
    """Return tau [..., 1]."""
    sorted_z = z.sort(dim=-1, descending=True).values
    summed = sorted_z.cumsum(dim=-1) - 1.0
    place = torch.arange(1, z.shape[-1] + 1, dtype=z.dtype, device=z.device)
    size = (place * sorted_z > summed).sum(dim=-1, keepdim=True)
    return summed.gather(-1, size - 1) / size
