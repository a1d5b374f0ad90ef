"""Batches of random windows: which samples make one, and which part of it this worker computes.

Resident data: the composition of a global batch depends on (seed, epoch) alone, so any number of workers
walks through the same batches; each rank takes its contiguous slice. A rank whose slice is empty (a tail
smaller than the group) computes one sample with weight zero, since every rank must take part in the
gradient exchange. Batches of whole dates are in ``feeds.dates``.

Shapes: B batch, W window, F features, S samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from raybench.feeds.memory import LossMemory
from raybench.feeds.reader import SampleReader
from raybench.feeds.world import SOLO, World
from raybench.models.interface.inputs import Inputs
from raybench.panel import Samples, Segment
from raybench.storage.arrays import as_tensor

Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """This worker's part of one global batch.

    The loss is the sum over all workers of weight x squared error, divided by ``count``: the samples of the
    whole batch, or its dates where the weights are one over the samples of a date. ``samples``: those of the
    whole batch in either case, None if that is ``count``. For a network's own loss: ``step`` counts the steps
    of its phase before, ``group_sum`` adds up over all workers, without a gradient.
    """

    inputs: Inputs
    label_B: Tensor
    weight_B: Tensor | None
    count: float
    samples: int | None = None
    step: int = 0
    group_sum: Callable[[Tensor], Tensor] = SOLO.sum

    def parts(self, number: int) -> Iterator[Batch]:
        """Cut into at most ``number`` parts, between dates if the network takes whole dates."""
        sizes = self.inputs.sizes
        units = len(self.inputs) if sizes is None else len(sizes)
        number = min(number, units)
        if number <= 1:
            yield self
            return
        bounds = range(units + 1) if sizes is None else list(accumulate(sizes, initial=0))
        for part in range(number):
            chosen = rank_slice(units, part, number)
            rows = slice(bounds[chosen.start], bounds[chosen.stop])
            yield replace(
                self,
                inputs=self.inputs.take(rows, None if sizes is None else sizes[chosen]),
                label_B=self.label_B[rows],
                weight_B=None if self.weight_B is None else self.weight_B[rows],
            )


class TrainingFeed(Protocol):
    """Where the loop gets its training batches: resident arrays or a stream of blocks."""

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """Yield this worker's batches of one epoch; every worker yields equally many."""
        ...

    def steps(self) -> int | None:
        """Return the number of batches of an epoch, None if it is not known before."""
        ...


class EvaluationFeed(Protocol):
    """Where the loop gets validation samples: windows in order, with date and labels beside them."""

    def batches(self) -> Iterator[tuple[Inputs, EvaluationRows]]:
        """Yield what the network is given and what belongs to it; ranks may yield different numbers."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationRows:
    """Position in evaluation order, date code, processed label and raw label of each window of a batch.

    ``group_B``: the date as far as the network is concerned, None where that is ``date_B``.
    """

    position_B: Tensor
    date_B: Tensor
    label_B: Tensor
    raw_label_B: Tensor
    group_B: Tensor | None = None


def epoch_order(samples: int, seed: int, epoch: int) -> np.ndarray:
    """Return the permutation of ``samples`` for one epoch; it depends on (seed, epoch) alone."""
    return np.random.default_rng([seed, epoch]).permutation(samples)


def rank_slice(length: int, rank: int, size: int) -> slice:
    """Return the contiguous part of ``length`` items that ``rank`` of ``size`` takes; parts differ by one."""
    return slice(rank * length // size, (rank + 1) * length // size)


def masked(samples: Samples) -> tuple[Float32, Float32 | None, NDArray[np.bool_] | None]:
    """Return label [S], weight [S] and which samples have a label, both None where that is nothing special.

    A sample without a label keeps its place in the batches but weighs nothing and is not counted (recipe qlib
    without DropnaLabel has such).
    """
    labelled_S = ~np.isnan(samples.label_S)
    if labelled_S.all():
        return samples.label_S, samples.weight_S, None
    weight_S = np.ones_like(samples.label_S) if samples.weight_S is None else samples.weight_S
    weight_S = np.where(labelled_S, weight_S, np.float32(0))
    return np.where(labelled_S, samples.label_S, np.float32(0)), weight_S, labelled_S


class ResidentFeed:
    """Training batches gathered from arrays that lie on the training device."""

    def __init__(
        self,
        segment: Segment,
        *,
        batch_size: int,
        seed: int,
        world: World,
        device: torch.device,
        drop_last: bool,
        memory: LossMemory | None = None,
    ) -> None:
        samples = segment.samples
        self._reader = SampleReader(segment, device, memory)
        label_S, weight_S, self._labelled_S = masked(samples)
        self._label_S = as_tensor(label_S).to(device)
        self._weight_S = None if weight_S is None else as_tensor(weight_S).to(device)
        self._batch_size, self._seed, self._world, self._device = batch_size, seed, world, device
        self._used = len(samples.row_S) // batch_size * batch_size if drop_last else len(samples.row_S)

    def steps(self) -> int:
        return -(-self._used // self._batch_size)

    def epoch(self, epoch: int) -> Iterator[Batch]:
        order = epoch_order(len(self._reader), self._seed, epoch)[: self._used]
        order_S = torch.from_numpy(order).to(self._device)
        for start in range(0, self._used, self._batch_size):
            whole_B = order_S[start : start + self._batch_size]
            mine_B = whole_B[rank_slice(len(whole_B), self._world.rank, self._world.size)]
            yield self._batch(mine_B, whole_B)

    def _batch(self, mine_B: Tensor, whole_B: Tensor) -> Batch:
        idle = len(mine_B) == 0
        take_B = whole_B[:1] if idle else mine_B
        label_B = self._label_S[take_B]
        weight_B = None if self._weight_S is None else self._weight_S[take_B]
        if idle:
            weight_B = torch.zeros_like(label_B)
        count = len(whole_B) if self._labelled_S is None else int(self._labelled_S[whole_B.cpu().numpy()].sum())
        return Batch(
            inputs=self._reader.read(take_B),
            label_B=label_B,
            weight_B=weight_B,
            count=float(max(count, 1)),
        )


class ResidentEvaluation:
    """Validation windows in the order of the segment's samples; each rank takes one contiguous part."""

    def __init__(
        self,
        segment: Segment,
        *,
        batch_size: int,
        world: World,
        device: torch.device,
        memory: LossMemory | None = None,
    ) -> None:
        samples = segment.samples
        self._reader = SampleReader(segment, device, memory)
        self._batch_size = batch_size
        self._mine = rank_slice(len(samples.row_S), world.rank, world.size)
        self._date_S = as_tensor(samples.date_S)
        self._label_S = as_tensor(samples.label_S)
        self._raw_label_S = as_tensor(samples.raw_label_S)

    def batches(self) -> Iterator[tuple[Inputs, EvaluationRows]]:
        for start in range(self._mine.start, self._mine.stop, self._batch_size):
            part = slice(start, min(start + self._batch_size, self._mine.stop))
            rows = EvaluationRows(
                position_B=torch.arange(part.start, part.stop),
                date_B=self._date_S[part],
                label_B=self._label_S[part],
                raw_label_B=self._raw_label_S[part],
            )
            yield self._reader.read(part), rows
