"""Sixty-four workers, one after the other in this process: equal counts, equal sums, the gradient of one worker.

What `DistributedDataParallel` makes of it is the mean of what the workers give it, and they scale by their number;
so what has to agree is the sum of their gradients.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from raybench.feeds.batches import Batch, ResidentFeed, rank_slice
from raybench.feeds.dates import DateFeed, Groups
from raybench.feeds.streaming import StreamingFeed
from raybench.feeds.world import SOLO, World
from raybench.panel import Segment
from tests.training.learnable import CPU, FEATURES, WINDOW, segment

WHOLE = segment(instruments=70)
SIZES = (2, 7, 64)


@dataclasses.dataclass(frozen=True)
class Rank:
    """One of several workers, as far as sharding goes."""

    rank: int
    size: int


def resident(world: object, train: Segment = WHOLE, *, batch_size: int = 200) -> ResidentFeed:
    return ResidentFeed(train, batch_size=batch_size, seed=3, world=world, device=CPU, drop_last=False)  # type: ignore[arg-type]


def dated(world: object, train: Segment = WHOLE) -> DateFeed:
    return DateFeed(train, Groups.of_dates(train.samples), dates_per_batch=64, seed=3, world=world, device=CPU)  # type: ignore[arg-type]


def unlabelled() -> Segment:
    """The same with every fifth label missing, and weights that differ."""
    label_S = WHOLE.samples.label_S.copy()
    label_S[::5] = np.nan
    weight_S = np.linspace(0.5, 2, len(label_S)).astype(np.float32)
    return Segment(source=WHOLE.source, samples=dataclasses.replace(WHOLE.samples, label_S=label_S, weight_S=weight_S))


def weighing(batch: Batch) -> Tensor:
    """Which samples of a batch have a say."""
    return torch.ones(len(batch.label_B), dtype=torch.bool) if batch.weight_B is None else batch.weight_B != 0


def gradient(network: nn.Linear, batch: Batch) -> tuple[Tensor, float]:
    """What a worker adds to gradient and loss of a batch, in float64."""
    network.zero_grad()
    score_B = network(batch.inputs.x_BWF.double().flatten(1))[:, 0]
    error_B = (score_B - batch.label_B).square()
    loss = (error_B if batch.weight_B is None else error_B * batch.weight_B).sum() / batch.count
    loss.backward()
    assert network.weight.grad is not None
    return network.weight.grad.clone(), float(loss.detach())


def assert_as_one(whole: list[Batch], ranks: list[list[Batch]]) -> None:
    """Every global batch falls to the workers as a whole, and gives the gradient and the loss that it gives to one."""
    torch.manual_seed(0)
    network = nn.Linear(WINDOW * FEATURES, 1).double()
    assert {len(batches) for batches in ranks} == {len(whole)}
    for number, batch in enumerate(whole):
        parts = [batches[number] for batches in ranks]
        assert {part.count for part in parts} == {batch.count}
        kept = torch.cat([part.label_B[weighing(part)] for part in parts])
        assert torch.equal(kept.sort()[0], batch.label_B[weighing(batch)].sort()[0])
        sizes = [int(weighing(part).sum()) for part in parts]
        assert sum(sizes) == int(weighing(batch).sum())
        given, wanted = [gradient(network, part) for part in parts], gradient(network, batch)
        torch.testing.assert_close(sum(one for one, _ in given), wanted[0], atol=1e-12, rtol=1e-10)
        assert sum(loss for _, loss in given) == pytest.approx(wanted[1], rel=1e-10)


@pytest.mark.parametrize("train", [WHOLE, unlabelled()], ids=["plain", "weighted, some without a label"])
@pytest.mark.parametrize("size", SIZES)
def test_a_batch_of_windows_is_shared_by_all(size: int, train: Segment) -> None:
    """The last batch has fewer windows than there are workers."""
    ranks = [list(resident(Rank(rank, size), train).epoch(2)) for rank in range(size)]
    assert_as_one(list(resident(SOLO, train).epoch(2)), ranks)
    shares = [[len(batch.label_B) for batch in batches[:-1]] for batches in ranks]
    assert max(map(max, zip(*shares, strict=True))) - min(map(min, zip(*shares, strict=True))) <= 1


@pytest.mark.parametrize("size", SIZES)
def test_a_batch_of_whole_dates_is_shared_by_all(size: int) -> None:
    """There are fewer dates than sixty-four: some workers have none, and weigh nothing."""
    ranks = [list(dated(Rank(rank, size)).epoch(2)) for rank in range(size)]
    assert_as_one(list(dated(SOLO).epoch(2)), ranks)


class Together:
    """A world whose members, each in a thread of its own, add up."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._meet = threading.Barrier(size)
        self._given = [0.0] * size

    def member(self, rank: int) -> World:
        together = self

        class Member(Rank):
            def sum(self, value: Tensor) -> Tensor:
                together._meet.wait(60)
                together._given[rank] = float(value)
                together._meet.wait(60)
                return torch.tensor(sum(together._given), dtype=value.dtype)

        return Member(rank, self.size)  # type: ignore[return-value]


def test_streams_of_unequal_length_end_together() -> None:
    """Sixty-four streams of one instrument or two: a step counts what all of them have, the last ones less."""
    size, together = 64, Together(64)
    instruments = np.unique(WHOLE.samples.instrument_S)
    assert len(instruments) > size
    batches: list[list[Batch]] = [[] for _ in range(size)]

    def stream(rank: int) -> None:
        mine = instruments[rank_slice(len(instruments), rank, size)]

        def blocks() -> Iterator[Segment]:
            return iter(
                [
                    Segment(source=WHOLE.source, samples=WHOLE.samples.take(WHOLE.samples.instrument_S == i))
                    for i in mine
                ]
            )

        feed = StreamingFeed(
            blocks, batch_size=320, seed=3, world=together.member(rank), device=CPU, shape=(WINDOW, FEATURES)
        )
        batches[rank] = list(feed.epoch(1))

    threads = [threading.Thread(target=stream, args=(rank,), daemon=True) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert len({len(each) for each in batches}) == 1
    seen = []
    for parts in zip(*batches, strict=True):
        here = [part.label_B[weighing(part)] for part in parts]
        assert {part.count for part in parts} == {float(sum(map(len, here)))}
        seen += here
    assert torch.equal(torch.cat(seen).sort()[0], torch.from_numpy(np.sort(WHOLE.samples.label_S)))
