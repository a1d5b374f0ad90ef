"""Batches of whole dates, for networks that compare the instruments of a date.

A global batch is ``dates_per_batch`` dates, each with every sample it has; dates are shuffled by (seed, epoch)
alone and each rank takes its slice of a batch. The loss is the mean over the dates of a batch of the mean over
the samples of each, however many those are: samples weigh one over their number, and dates are counted. A rank
without a date (the last batch has fewer than the group) computes one with weight zero.

Qlib cuts its batches for Alpha158 wrongly: samples lie by instrument, but are cut where dates would end, in the
same order in every epoch (``Groups.as_qlib_cuts``).

Shapes: B samples of a batch, D dates (or what stands for them), S samples of the segment.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from raybench.feeds.batches import Batch, EvaluationRows, epoch_order, masked, rank_slice
from raybench.feeds.reader import SampleReader
from raybench.feeds.world import World
from raybench.models.interface.inputs import Inputs
from raybench.panel import Samples, Segment
from raybench.storage.arrays import as_tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups:
    """Samples [S] put one group after the other: ``order_S`` are their positions, ``bound_D`` [D+1] the borders."""

    order_S: NDArray[np.int64]
    bound_D: NDArray[np.int64]
    shuffled: bool = True

    @classmethod
    def of_dates(cls, samples: Samples) -> Groups:
        """Each date is a group."""
        order_S = np.lexsort((samples.instrument_S, samples.date_S)).astype(np.int64)
        return cls(order_S=order_S, bound_D=_borders(np.sort(samples.date_S)))

    @classmethod
    def as_qlib_cuts(cls, samples: Samples) -> Groups:
        """Cut samples in their own order (by instrument) into as many as each date has."""
        return cls(order_S=np.arange(len(samples)), bound_D=_borders(np.sort(samples.date_S)), shuffled=False)

    def __len__(self) -> int:
        return len(self.bound_D) - 1

    def samples_of(self, group: int) -> NDArray[np.int64]:
        """Positions of the samples of one group."""
        return self.order_S[self.bound_D[group] : self.bound_D[group + 1]]


def _borders(sorted_S: NDArray[np.int32]) -> NDArray[np.int64]:
    starts = np.flatnonzero(np.diff(sorted_S, prepend=np.int32(-1)))
    return np.append(starts, len(sorted_S)).astype(np.int64)


def groups_of(segment: Segment, *, qlib_cuts: bool) -> Groups:
    """Return the groups that a network is given, dates unless Qlib's cuts are asked for."""
    return Groups.as_qlib_cuts(segment.samples) if qlib_cuts else Groups.of_dates(segment.samples)


class DateFeed:
    """Training batches of whole dates, gathered from arrays that lie on the training device."""

    def __init__(
        self, segment: Segment, groups: Groups, *, dates_per_batch: int, seed: int, world: World, device: torch.device
    ) -> None:
        samples = segment.samples
        self._reader = SampleReader(segment, device)
        label_S, weight_S, labelled_S = masked(samples)
        self._label_S = as_tensor(label_S).to(device)
        self._weight_S = None if weight_S is None else as_tensor(weight_S).to(device)
        known_S = np.ones(len(samples), np.int64) if labelled_S is None else labelled_S.astype(np.int64)
        self._known_D = np.add.reduceat(known_S[groups.order_S], groups.bound_D[:-1])
        self._groups = groups
        self._size, self._seed, self._world, self._device = dates_per_batch, seed, world, device

    def steps(self) -> int:
        """Return the number of global batches of an epoch."""
        return -(-len(self._groups) // self._size)

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """Yield this worker's part of each global batch."""
        count = len(self._groups)
        order_D = epoch_order(count, self._seed, epoch) if self._groups.shuffled else np.arange(count)
        for start in range(0, count, self._size):
            whole = order_D[start : start + self._size]
            yield self._batch(whole[rank_slice(len(whole), self._world.rank, self._world.size)], whole)

    def _batch(self, mine: NDArray[np.int64], whole: NDArray[np.int64]) -> Batch:
        idle = len(mine) == 0
        groups = [self._groups.samples_of(group) for group in (whole[:1] if idle else mine)]
        sizes = tuple(len(group) for group in groups)
        known = np.repeat(self._known_D[whole[:1] if idle else mine], sizes)
        weight_B = torch.from_numpy(np.where(known > 0, 1.0 / np.maximum(known, 1), 0.0)).float().to(self._device)
        take_B = torch.from_numpy(np.concatenate(groups)).to(self._device)
        if self._weight_S is not None:
            weight_B = weight_B * self._weight_S[take_B]
        return Batch(
            inputs=self._reader.read(take_B, sizes),
            label_B=self._label_S[take_B],
            weight_B=torch.zeros_like(weight_B) if idle else weight_B,
            count=float(max((self._known_D[whole] > 0).sum(), 1)),
            samples=int(sum(len(self._groups.samples_of(group)) for group in whole)),
        )


class DateEvaluation:
    """Validation date by date, in order; each rank takes a contiguous part of the dates."""

    def __init__(self, segment: Segment, groups: Groups, *, world: World, device: torch.device) -> None:
        samples = segment.samples
        self._reader = SampleReader(segment, device)
        self._groups, self._device = groups, device
        self._mine = rank_slice(len(groups), world.rank, world.size)
        self._columns = [as_tensor(a) for a in (samples.date_S, samples.label_S, samples.raw_label_S)]

    def batches(self) -> Iterator[tuple[Inputs, EvaluationRows]]:
        """Yield one date at a time."""
        for group in range(self._mine.start, self._mine.stop):
            position_B = torch.from_numpy(self._groups.samples_of(group))
            date_B, label_B, raw_B = (column[position_B] for column in self._columns)
            rows = EvaluationRows(
                position_B=position_B,
                date_B=date_B,
                label_B=label_B,
                raw_label_B=raw_B,
                group_B=torch.full_like(date_B, group),
            )
            yield self._reader.read(position_B.to(self._device), (len(position_B),)), rows


def qlib_cuts(recipe: str, feature_set: str) -> bool:
    """Say whether batches are cut as Qlib cuts them: by its recipe, where samples lie by instrument."""
    return recipe == "qlib" and feature_set != "alpha360"
