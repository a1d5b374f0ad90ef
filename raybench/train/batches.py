"""Which samples make a batch, and which part of it this worker computes.

Resident data: the composition of a global batch depends on (seed, epoch) alone, so any number of workers
walks through the same batches; each rank takes its contiguous slice. A rank whose slice is empty (a tail
smaller than the group) computes one sample with weight zero, since every rank must take part in the
gradient exchange.

Shapes: B batch, W window, F features, S samples.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from raybench.data.panel import Samples, Segment
from raybench.data.windows import WindowSource, as_tensor
from raybench.train.world import World

Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """This worker's part of one global batch; ``count`` is the number of samples of the whole of it."""

    x_BWF: Tensor
    label_B: Tensor
    weight_B: Tensor | None
    count: float


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

    def batches(self) -> Iterator[tuple[Tensor, EvaluationRows]]:
        """Yield windows [B, W, F] and what belongs to them; ranks may yield different numbers."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationRows:
    """Position in evaluation order, date code, processed label and raw label of each window of a batch."""

    position_B: Tensor
    date_B: Tensor
    label_B: Tensor
    raw_label_B: Tensor


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
    ) -> None:
        samples = segment.samples
        self._source: WindowSource = segment.source.to(device)
        self._row_S = as_tensor(samples.row_S).to(device)
        label_S, weight_S, self._labelled_S = masked(samples)
        self._label_S = as_tensor(label_S).to(device)
        self._weight_S = None if weight_S is None else as_tensor(weight_S).to(device)
        self._batch_size, self._seed, self._world, self._device = batch_size, seed, world, device
        self._used = len(samples.row_S) // batch_size * batch_size if drop_last else len(samples.row_S)

    def steps(self) -> int:
        return -(-self._used // self._batch_size)

    def epoch(self, epoch: int) -> Iterator[Batch]:
        order = epoch_order(len(self._row_S), self._seed, epoch)[: self._used]
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
            x_BWF=self._source.gather(self._row_S[take_B]),
            label_B=label_B,
            weight_B=weight_B,
            count=float(max(count, 1)),
        )


class ResidentEvaluation:
    """Validation windows in the order of the segment's samples; each rank takes one contiguous part."""

    def __init__(self, segment: Segment, *, batch_size: int, world: World, device: torch.device) -> None:
        samples = segment.samples
        self._source: WindowSource = segment.source.to(device)
        self._device, self._batch_size = device, batch_size
        self._mine = rank_slice(len(samples.row_S), world.rank, world.size)
        self._row_S = as_tensor(samples.row_S).to(device)
        self._date_S = as_tensor(samples.date_S)
        self._label_S = as_tensor(samples.label_S)
        self._raw_label_S = as_tensor(samples.raw_label_S)

    def batches(self) -> Iterator[tuple[Tensor, EvaluationRows]]:
        for start in range(self._mine.start, self._mine.stop, self._batch_size):
            part = slice(start, min(start + self._batch_size, self._mine.stop))
            rows = EvaluationRows(
                position_B=torch.arange(part.start, part.stop),
                date_B=self._date_S[part],
                label_B=self._label_S[part],
                raw_label_B=self._raw_label_S[part],
            )
            yield self._source.gather(self._row_S[part]), rows
