"""Networks that are fitted directly, without gradient steps: what they are given and what they have to offer.

Shapes: B samples of a batch, W rows of lookback, F features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledSamples:
    """Some samples with their labels. Weight zero: the sample is to be passed over, its label says nothing."""

    x_BWF: Tensor
    label_B: Tensor
    weight_B: Tensor | None = None


@runtime_checkable
class FitsDirectly(Protocol):
    """A network with a method that sets its weights from one pass over the samples."""

    def fit_directly(
        self,
        train: Iterable[LabelledSamples],
        valid: Iterable[LabelledSamples],
        *,
        total: Callable[[Tensor], Tensor],
        seed: int,
    ) -> None:
        """Set the weights from the samples of this process, each once, in batches of any size.

        ``total`` adds a tensor up over the group of processes, for all of which the method is called: what it
        sets must follow from such sums alone. TrainingError where the samples are of no use.
        """
        ...
