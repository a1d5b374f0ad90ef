"""Batch normalisation that a batch of one sample does not stop."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class BatchNorm(nn.BatchNorm1d):
    """Batch normalisation [N, U] -> [N, U]; in training, a sample alone is normalised by the running means.

    One sample has no variance, and the last batch of an epoch may leave a worker with one.
    """

    def forward(self, input: Tensor) -> Tensor:
        if self.training and len(input) == 1:
            running = (self.running_mean, self.running_var)
            return functional.batch_norm(input, *running, self.weight, self.bias, eps=self.eps)
        return super().forward(input)
