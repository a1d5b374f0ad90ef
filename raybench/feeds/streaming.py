"""Feeds over a stream of blocks, for panels that no worker could hold.

A block is a segment of some whole instruments: its own rows, its own samples. Blocks come in another order
each epoch and pass through a buffer of ``BUFFER_BLOCKS``; within the buffer all samples are shuffled. Every
epoch sees the same samples as resident data does, once each; the order may depend on the number of workers.

Workers get different numbers of blocks, so they agree on the size of each step: a worker that has run out
computes one sample with weight zero until all have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from raybench.feeds.batches import Batch, EvaluationRows, rank_slice
from raybench.feeds.world import World
from raybench.models.interface.inputs import Inputs
from raybench.panel import Segment
from raybench.storage.arrays import as_tensor

BUFFER_BLOCKS = 8

Blocks = Callable[[], Iterator[Segment]]


class StreamingFeed:
    """Training batches out of blocks. ``blocks()`` starts this worker's stream of one epoch."""

    def __init__(
        self,
        blocks: Blocks,
        *,
        batch_size: int,
        seed: int,
        world: World,
        device: torch.device,
        shape: tuple[int, int],
        drop_last: bool = False,
    ) -> None:
        share = rank_slice(batch_size, world.rank, world.size)
        self._least = batch_size if drop_last else 1
        self._blocks, self._size, self._shape = blocks, max(share.stop - share.start, 1), shape
        self._seed, self._world, self._device = seed, world, device

    def steps(self) -> None:
        """Not known: it depends on how the blocks fall to the workers."""
        return None

    def epoch(self, epoch: int) -> Iterator[Batch]:
        mine = self._local(np.random.default_rng([self._seed, epoch, self._world.rank]))
        while True:
            batch = next(mine, None)
            here = 0 if batch is None else len(batch[1])
            count = float(self._world.sum(torch.tensor(float(here), dtype=torch.float64)))
            if count == 0:
                return
            if count < self._least:
                continue
            x_BWF, label_B, weight_B = batch or self._idle()
            yield Batch(inputs=Inputs(x_BWF=x_BWF), label_B=label_B, weight_B=weight_B, count=count)

    def _idle(self) -> tuple[Tensor, Tensor, Tensor]:
        nothing = torch.zeros(1, device=self._device)
        return torch.zeros(1, *self._shape, device=self._device), nothing, nothing

    def _local(self, rng: np.random.Generator) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
        """Give this worker's batches: all full but the last."""
        stream = self._blocks()
        left: _Pool | None = None
        while read := list(islice(stream, BUFFER_BLOCKS)):
            blocks = [block for block in map(_labelled, read) if len(block.samples)]
            if not blocks:
                continue
            pool = _Pool(blocks, rng, self._device, left)
            yield from pool.full_batches(self._size)
            left = pool
        if left is not None:
            yield from left.last_batch()


def _labelled(segment: Segment) -> Segment:
    """Leave out samples without a label, which teach nothing (recipe qlib without DropnaLabel has such)."""
    missing_S = np.isnan(segment.samples.label_S)
    if not missing_S.any():
        return segment
    return Segment(source=segment.source, samples=segment.samples.take(~missing_S))


class _Pool:
    """The buffer: samples of several blocks in random order, those left over from the one before first."""

    def __init__(
        self, blocks: list[Segment], rng: np.random.Generator, device: torch.device, before: _Pool | None
    ) -> None:
        self._segments = [Segment(source=b.source.to(device), samples=b.samples) for b in blocks]
        sizes = [len(b.samples) for b in blocks]
        block_S = np.repeat(np.arange(len(blocks)), sizes)
        sample_S = np.concatenate([np.arange(size) for size in sizes])
        order = rng.permutation(len(block_S))
        self._block_S, self._sample_S = block_S[order], sample_S[order]
        self._device = device
        self._parts = [] if before is None else list(before.last_batch())
        self._used = 0

    def full_batches(self, size: int) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
        """Give batches of exactly ``size`` as long as there are that many samples."""
        waiting = sum(len(part[1]) for part in self._parts)
        while waiting + len(self._block_S) - self._used >= size:
            fresh = self._take(size - waiting)
            yield _joined([*self._parts, fresh])
            self._parts, waiting = [], 0

    def last_batch(self) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
        """Give what is left, if anything."""
        parts = [
            *self._parts,
            *([self._take(len(self._block_S) - self._used)] if self._used < len(self._block_S) else []),
        ]
        if parts:
            yield _joined(parts)

    def _take(self, number: int) -> tuple[Tensor, Tensor, Tensor | None]:
        chosen = slice(self._used, self._used + number)
        self._used += number
        block_B, sample_B = self._block_S[chosen], self._sample_S[chosen]
        parts = [self._gather(segment, sample_B[block_B == i]) for i, segment in enumerate(self._segments)]
        return _joined([part for part in parts if len(part[1])])

    def _gather(self, segment: Segment, sample_B: np.ndarray) -> tuple[Tensor, Tensor, Tensor | None]:
        samples = segment.samples.take(sample_B)
        weight_B = None if samples.weight_S is None else as_tensor(samples.weight_S).to(self._device)
        x_BWF = segment.source.gather(as_tensor(samples.row_S).to(self._device))
        return x_BWF, as_tensor(samples.label_S).to(self._device), weight_B


def _joined(parts: list[tuple[Tensor, Tensor, Tensor | None]]) -> tuple[Tensor, Tensor, Tensor | None]:
    if len(parts) == 1:
        return parts[0]
    weights = [part[2] for part in parts if part[2] is not None]
    x_BWF, label_B = (torch.cat([part[i] for part in parts]) for i in (0, 1))  # type: ignore[misc]
    return x_BWF, label_B, torch.cat(weights) if weights else None


class StreamingEvaluation:
    """Validation windows out of blocks; each worker yields those of the blocks that fall to it.

    ``by_date``: the evaluation order is (date, instrument), else (instrument, date), whatever order blocks come in.
    """

    def __init__(self, blocks: Blocks, *, batch_size: int, device: torch.device, by_date: bool = True) -> None:
        self._blocks, self._batch_size, self._device, self._by_date = blocks, batch_size, device, by_date

    def batches(self) -> Iterator[tuple[Inputs, EvaluationRows]]:
        for segment in self._blocks():
            samples, source = segment.samples, segment.source.to(self._device)
            row_S = as_tensor(samples.row_S).to(self._device)
            keys = (samples.date_S, samples.instrument_S)
            major_S, minor_S = keys if self._by_date else keys[::-1]
            position_S = as_tensor(major_S.astype(np.int64) << 32 | minor_S)
            columns = [as_tensor(a) for a in (samples.date_S, samples.label_S, samples.raw_label_S)]
            for start in range(0, len(samples), self._batch_size):
                part = slice(start, start + self._batch_size)
                date_B, label_B, raw_B = (column[part] for column in columns)
                rows = EvaluationRows(position_B=position_S[part], date_B=date_B, label_B=label_B, raw_label_B=raw_B)
                yield Inputs(x_BWF=source.gather(row_S[part])), rows
