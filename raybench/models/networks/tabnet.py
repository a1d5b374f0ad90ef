"""TabNet: decision steps that each look at a few of the features (Arik and Pfister 2021).

Shapes: N samples, W rows of lookback (1 for a row of its own), F features, K = F*W inputs in the order of Qlib's
flat rows (one feature's lags after the other's), D = n_d + n_a units. Parameters are named as in Qlib (model.*, fc.*).

With x the inputs after batch normalisation, P the prior scale (all 1) and [d; a] the two parts, n_d and n_a wide,
of what a feature transformer gives:

    [_; a] = FT_1(x)
    for each of the other n_steps - 1 steps:
        M = sparsemax(P norm(A a))        which inputs this step looks at: a few, their weights sum to 1
        P = P (relax - M)                 what was looked at is looked at less later; not at all with relax 1
        [d; a] = FT_i(M x)
        sum += ReLU(d)
    score = w . (C sum + c) + b

A feature transformer is n_shared blocks GLU(norm(linear)), whose linear layers all steps share, and n_ind of its
own; a block's output is added to its input and the sum scaled by sqrt(0.5), but for the first block's.
Masks sum to 1, and norms in training are those of virtual batches: ``GhostNorm``.
"""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from raybench.models.layers.layout import as_flat_rows
from raybench.models.layers.tabnet_layers import Decoder, Encoder
from raybench.models.networks.tabnet_pretraining import MaskedReconstruction

QLIB_SIZES = {"n_d": 64, "n_a": 64, "n_shared": 2, "n_ind": 2, "n_steps": 5}


class TabNet(nn.Module):
    """Score windows [N, W, F] or flat rows [N, F*W] -> [N].

    In training, units are normalised over parts of at least ``vbs`` samples of this worker's part of a batch, so
    the training depends on the number of workers. ``recipe`` "qlib": masks forget what earlier steps looked at, the
    encoder's sizes are fixed, and the last layer stays at its random start.
    """

    def __init__(
        self,
        num_features: int,
        *,
        step_len: int,
        out_dim: int = 64,
        n_d: int = 64,
        n_a: int = 64,
        n_shared: int = 2,
        n_ind: int = 2,
        n_steps: int = 5,
        relax: float = 1.3,
        vbs: int = 2048,
        ps: float = 0.3,
        pretrain: bool = True,
        pretrain_n_epochs: int = 50,
        recipe: str = "raybench",
    ) -> None:
        super().__init__()
        qlib, inputs = recipe == "qlib", num_features * step_len
        blocks = {"n_shared": n_shared, "n_ind": n_ind, "n_steps": n_steps}
        sizes = QLIB_SIZES if qlib else {"n_d": n_d, "n_a": n_a, **blocks}
        self.model = Encoder(inputs, out_dim, relax=relax, vbs=vbs, forgets=qlib, **sizes)
        self.fc = nn.Linear(out_dim, 1).requires_grad_(not qlib)
        self._decoder = partial(Decoder, out_dim, inputs, vbs=vbs, **blocks)
        self._reconstruct = partial(MaskedReconstruction, ps=ps, epochs=pretrain_n_epochs, qlib_loss=qlib)
        self._pretrain = pretrain

    def forward(self, x: Tensor) -> Tensor:
        score_N1: Tensor = self.fc(self.model(as_flat_rows(x)))
        return score_N1[:, 0]

    def pretraining(self) -> MaskedReconstruction | None:
        """Return what is trained first, with the same encoder; None if that is not wanted."""
        return self._reconstruct(self.model, self._decoder()) if self._pretrain else None

    @property
    def qlib_dead_layers(self) -> tuple[str, ...]:
        """Shared layers under the names of the steps that use them."""
        shared = range(len(self.model.shared))
        steps = [f"steps.{step}.fea_tran" for step in range(len(self.model.steps))]
        return tuple(f"model.{step}.shared.{i}.fc." for step in ["first_step", *steps] for i in shared)
