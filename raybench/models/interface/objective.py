"""What a network with a loss of its own is given to compute it.

Such a network has ``loss(outputs, batch) -> Tensor``: ``outputs`` is what its forward returned in training mode,
the result is a sum over the samples of this worker; the caller divides by the number of samples of the whole batch.

Shapes: B samples of this worker's part of one batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from torch import Tensor

from raybench.models.interface.inputs import Inputs

GroupSum = Callable[[Tensor], Tensor]
"""Adds a tensor up over the workers that share a batch. No gradient goes through it."""


class LossBatch(Protocol):
    """This worker's part of one batch.

    ``label_B`` holds no NaN; a sample of weight 0 (``weight_B``; None: all weigh 1) takes no part. ``step``: batches
    trained on before this one, ``group_sum``: what makes a sum over the whole batch of one over this part.
    """

    @property
    def inputs(self) -> Inputs: ...

    @property
    def label_B(self) -> Tensor: ...

    @property
    def weight_B(self) -> Tensor | None: ...

    @property
    def step(self) -> int: ...

    @property
    def group_sum(self) -> GroupSum: ...


def alone(value: Tensor) -> Tensor:
    """Add up over a group of one."""
    return value
