"""Who learns from which sample: optimal transport between samples and predictors (TRA, Lin et al. 2021).

Shapes: N samples, K predictors. Each sample is worth the same, each predictor is to get an equal share of them; a
sample goes where its loss is small. Nothing here has a gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor

from raybench.models.interface.objective import GroupSum, alone

ITERATIONS, EPSILON = 3, 0.1
TINY = 1e-12  # against 0 / 0 where all losses of a sample are equal


def min_max(loss_NK: Tensor) -> Tensor:
    """Scale the losses of each sample to 0 .. 1; all 1 where they are equal.

    >>> min_max(torch.tensor([[1.0, 2.0, 3.0], [4.0, 4.0, 4.0]])).tolist()
    [[0.0, 0.5, 1.0], [1.0, 1.0, 1.0]]
    """
    low_N1, high_N1 = loss_NK.amin(dim=1, keepdim=True), loss_NK.amax(dim=1, keepdim=True)
    scaled_NK = (loss_NK - low_N1) / (high_N1 - low_N1 + TINY)
    return torch.where(low_N1 == high_N1, 1.0, scaled_NK)


@torch.no_grad()
def assignment(
    loss_NK: Tensor,
    past_NK: Tensor,
    *,
    alpha: float,
    taking_part_N: Tensor | None = None,
    group_sum: GroupSum = alone,
) -> Tensor:
    """Assign samples to predictors by their losses now and in the past -> shares [N, K] that sum to 1 per sample.

    ``alpha``: weight of the losses now. Both are compared within a sample only. ``taking_part_N``: false for
    samples that are not to be assigned (their shares are 0). ``group_sum`` is of the workers that share the batch.
    """
    cost_NK = min_max(alpha * min_max(loss_NK) + (1.0 - alpha) * min_max(past_NK))
    return sinkhorn(-cost_NK, taking_part_N=taking_part_N, group_sum=group_sum)


@torch.no_grad()
def sinkhorn(
    gain_NK: Tensor,
    *,
    iterations: int = ITERATIONS,
    epsilon: float = EPSILON,
    taking_part_N: Tensor | None = None,
    group_sum: GroupSum = alone,
) -> Tensor:
    """Entropic optimal transport for the largest total gain (Cuturi 2013) -> plan [N, K], its rows sum to 1.

    Columns and rows of exp(gain / epsilon) are scaled in turn; after a few ``iterations`` the columns are nearly
    equal, and more would make them more so. Gains are within about [-1, 0], so that exp neither vanishes
    nor overflows.

    >>> plan_NK = sinkhorn(torch.tensor([[0.0, -1.0], [0.0, -1.0], [-1.0, 0.0], [-1.0, 0.0]]))
    >>> plan_NK.shape, plan_NK.sum(dim=1).tolist(), plan_NK.argmax(dim=1).tolist()
    (torch.Size([4, 2]), [1.0, 1.0, 1.0, 1.0], [0, 0, 1, 1])
    """
    plan_NK = torch.exp(gain_NK / epsilon)
    if taking_part_N is not None:
        plan_NK = plan_NK * taking_part_N[:, None]
    for _ in range(iterations):
        plan_NK = _shares(plan_NK, group_sum(plan_NK.sum(dim=0, keepdim=True)))
        plan_NK = _shares(plan_NK, plan_NK.sum(dim=1, keepdim=True))
    return plan_NK


def _shares(part: Tensor, whole: Tensor) -> Tensor:
    """Divide; nothing has no share of nothing."""
    return torch.where(whole > 0, part / torch.where(whole > 0, whole, 1.0), 0.0)
