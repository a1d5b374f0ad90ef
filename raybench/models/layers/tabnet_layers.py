"""What TabNet is made of: encoder, decoder, feature transformers, normalisation over virtual batches.

Shapes: N samples, K inputs, D = n_d + n_a units, C units of any layer. Parameters are named as in Qlib.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from raybench.models.layers.batch_norm import BatchNorm
from raybench.models.layers.sparsemax import sparsemax

MOMENTUM = 0.01
RESIDUAL = math.sqrt(0.5)


class Encoder(nn.Module):
    """Flat rows [N, K] -> what the decision steps found [N, out_dim].

    ``prior_NK``: the prior scale to begin with, 0 where an input is hidden. ``forgets``: it stays as it was.
    """

    def __init__(
        self,
        inputs: int,
        out_dim: int,
        *,
        n_d: int,
        n_a: int,
        n_shared: int,
        n_ind: int,
        n_steps: int,
        relax: float,
        vbs: int,
        forgets: bool,
    ) -> None:
        super().__init__()
        width = n_d + n_a
        self.shared = shared_layers(inputs, width, n_shared)
        self.first_step = FeatureTransformer(inputs, width, n_shared, n_ind, vbs)
        self.steps = nn.ModuleList(DecisionStep(inputs, n_a, width, n_shared, n_ind, vbs) for _ in range(n_steps - 1))
        self.fc = nn.Linear(n_d, out_dim)
        self.bn = BatchNorm(inputs, momentum=MOMENTUM)
        self._n_d, self._relax, self._forgets = n_d, relax, forgets

    def forward(self, x_NK: Tensor, prior_NK: Tensor | None = None) -> Tensor:
        x_NK = self.bn(x_NK)
        prior_NK = torch.ones_like(x_NK) if prior_NK is None else prior_NK
        a_NA = self.first_step(x_NK, self.shared)[:, self._n_d :]
        found_ND = x_NK.new_zeros(x_NK.shape[0], self._n_d)
        for step in self.steps:
            assert isinstance(step, DecisionStep)
            mask_NK = step.mask(a_NA, prior_NK)
            if not self._forgets:
                prior_NK = prior_NK * (self._relax - mask_NK)
            both_ND = step(x_NK * mask_NK, self.shared)
            found_ND = found_ND + both_ND[:, : self._n_d].relu()
            a_NA = both_ND[:, self._n_d :]
        found: Tensor = self.fc(found_ND)
        return found


class DecisionStep(nn.Module):
    """One step: which inputs it looks at, and what it makes of them."""

    def __init__(self, inputs: int, n_a: int, width: int, n_shared: int, n_ind: int, vbs: int) -> None:
        super().__init__()
        self.atten_tran = nn.ModuleDict({"fc": nn.Linear(n_a, inputs), "bn": GhostNorm(inputs, vbs)})
        self.fea_tran = FeatureTransformer(inputs, width, n_shared, n_ind, vbs)

    def mask(self, a_NA: Tensor, prior_NK: Tensor) -> Tensor:
        """Weigh the inputs [N, K]."""
        seen_NK: Tensor = self.atten_tran["bn"](self.atten_tran["fc"](a_NA))
        return sparsemax(seen_NK * prior_NK)

    def forward(self, x_NK: Tensor, shared: nn.ModuleList) -> Tensor:
        found: Tensor = self.fea_tran(x_NK, shared)
        return found


class Decoder(nn.Module):
    """What the encoder found [N, D] -> inputs [N, K]: a sum of steps, each a feature transformer and a linear layer."""

    def __init__(self, found: int, inputs: int, *, n_shared: int, n_ind: int, n_steps: int, vbs: int) -> None:
        super().__init__()
        self.shared = shared_layers(found, inputs, n_shared)
        self.steps = nn.ModuleList(DecoderStep(found, inputs, n_shared, n_ind, vbs) for _ in range(n_steps))

    def forward(self, found_ND: Tensor) -> Tensor:
        return torch.stack([step(found_ND, self.shared) for step in self.steps]).sum(dim=0)


class DecoderStep(nn.Module):
    """A part of the reconstruction, [N, D] -> [N, K]."""

    def __init__(self, found: int, inputs: int, n_shared: int, n_ind: int, vbs: int) -> None:
        super().__init__()
        self.fea_tran = FeatureTransformer(found, inputs, n_shared, n_ind, vbs)
        self.fc = nn.Linear(inputs, inputs)

    def forward(self, found_ND: Tensor, shared: nn.ModuleList) -> Tensor:
        part_NK: Tensor = self.fc(self.fea_tran(found_ND, shared))
        return part_NK


class FeatureTransformer(nn.Module):
    """Gated blocks one after the other, [N, K] -> [N, D]; the linear layers of the first ones are shared."""

    def __init__(self, inputs: int, width: int, n_shared: int, n_ind: int, vbs: int) -> None:
        super().__init__()
        # A shared layer belongs to the encoder alone: under two names it would be stored and counted twice.
        self.shared = nn.ModuleList(Block(None, width, vbs) for _ in range(n_shared))
        self.independ = nn.ModuleList(
            Block(nn.Linear(width if n_shared or i else inputs, 2 * width), width, vbs) for i in range(n_ind)
        )

    def forward(self, x_NK: Tensor, shared: nn.ModuleList) -> Tensor:
        value: Tensor | None = None
        layers = [*shared, *(block.fc for block in self.independ)]
        for block, layer in zip([*self.shared, *self.independ], layers, strict=True):
            value = block(layer(x_NK)) if value is None else (value + block(layer(value))) * RESIDUAL
        assert value is not None, "a transformer has at least one block"
        return value


class Block(nn.Module):
    """Normalisation and gate (GLU): [N, 2D] of a linear layer -> [N, D], one half times the sigmoid of the other."""

    def __init__(self, fc: nn.Linear | None, width: int, vbs: int) -> None:
        super().__init__()
        if fc is not None:
            self.fc = fc
        self.bn = GhostNorm(2 * width, vbs)

    def forward(self, value_N2D: Tensor) -> Tensor:
        return nn.functional.glu(self.bn(value_N2D), dim=1)


class GhostNorm(nn.Module):
    """Batch normalisation over virtual batches (Hoffer et al. 2017): [N, C] -> [N, C].

    In training, a batch is cut into as many equal parts as have at least ``vbs`` samples, each with its own mean and
    variance; the running ones follow all of them in turn.
    """

    def __init__(self, width: int, vbs: int) -> None:
        super().__init__()
        self.bn = BatchNorm(width, momentum=MOMENTUM)
        self._vbs = vbs

    def forward(self, x_NC: Tensor) -> Tensor:
        if not self.training or len(x_NC) < 2 * self._vbs:
            whole: Tensor = self.bn(x_NC)
            return whole
        return torch.cat([self.bn(part) for part in x_NC.tensor_split(len(x_NC) // self._vbs)])


def shared_layers(inputs: int, width: int, number: int) -> nn.ModuleList:
    """Make the linear layers that all feature transformers share."""
    return nn.ModuleList(nn.Linear(width if i else inputs, 2 * width) for i in range(number))
