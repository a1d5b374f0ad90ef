"""Batches for networks with a loss of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from raybench.models.interface.inputs import Inputs
from raybench.models.interface.objective import alone


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What ``loss`` is given."""

    inputs: Inputs
    label_B: Tensor
    weight_B: Tensor | None = None
    step: int = 0
    group_sum: Callable[[Tensor], Tensor] = alone
