"""TabNet's first phase: learning from inputs alone what others hide (Arik and Pfister 2021, self-supervised).

Shapes: N samples, K inputs (flat rows). Of every sample a random part S of the inputs (1 hidden, 0 not) is set to 0
and kept from the masks; encoder and decoder are to give it back. The loss of a batch is

    sum over samples and inputs of (S (given back - x) / s)^2 / N, s^2 the variance of the input

so that every input counts the same, however far it varies. The variance is that of this worker's part of the batch, as
in batch normalisation; an input that is constant there does not count.
The decoder serves only here.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from raybench.models.interface.objective import LossBatch
from raybench.models.layers.layout import as_flat_rows
from raybench.models.layers.tabnet_layers import Decoder, Encoder

CONSTANT = 1e-10  # variance of what differs by rounding alone: inputs are of the order of 1
MASK_SEED = 0  # of the masks in evaluation, so that epochs can be compared
Reconstructed = tuple[Tensor, Tensor, Tensor]
"""What was given back, S, and the inputs, each [N, K]."""


class MaskedReconstruction(nn.Module):
    """The encoder of a TabNet with a decoder: windows [N, W, F] or flat rows [N, K] -> ``Reconstructed``.

    Each input is hidden with probability ``ps``: as torch's generator has it in training, in the same places at
    every call in evaluation. ``qlib_loss``: measured in the variance of what was given back, as Qlib does, so that
    it also falls when that varies more.
    """

    selects_by = "loss"

    def __init__(self, encoder: Encoder, decoder: Decoder, *, ps: float, epochs: int, qlib_loss: bool) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        self.epochs = epochs
        self._ps, self._qlib_loss = ps, qlib_loss

    def forward(self, x: Tensor) -> Reconstructed:
        x_NK = as_flat_rows(x)
        hidden_NK = self._mask(x_NK)
        found = self.encoder(x_NK * (1.0 - hidden_NK), 1.0 - hidden_NK)
        return self.decoder(found), hidden_NK, x_NK

    def loss(self, outputs: Reconstructed, batch: LossBatch) -> Tensor:
        """Sum over the samples of this worker that weigh anything."""
        back_NK, hidden_NK, x_NK = outputs
        variance_K = (back_NK if self._qlib_loss else x_NK).var(dim=0, correction=0)
        varies_K = variance_K > CONSTANT
        precision_K = torch.where(varies_K, 1.0 / torch.where(varies_K, variance_K, 1.0), 0.0)
        error_N = ((hidden_NK * (back_NK - x_NK)).square() * precision_K).sum(dim=1)
        return error_N.sum() if batch.weight_B is None else (error_N * (batch.weight_B > 0)).sum()

    def _mask(self, x_NK: Tensor) -> Tensor:
        if self.training:
            return torch.rand_like(x_NK).lt(self._ps).to(x_NK.dtype)
        fixed = torch.Generator().manual_seed(MASK_SEED)
        return torch.rand(x_NK.shape, generator=fixed).lt(self._ps).to(x_NK)
