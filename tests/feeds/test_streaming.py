"""A stream of blocks gives the samples that resident data gives."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from raybench.feeds.batches import Batch, ResidentFeed
from raybench.feeds.feeds import Feeds
from raybench.feeds.streaming import StreamingEvaluation, StreamingFeed
from raybench.feeds.world import SOLO
from raybench.panel import Segment
from raybench.training.loop import fit
from tests.training.learnable import CPU, FEATURES, WINDOW, feeds, network, options, segment

WHOLE = segment(instruments=21)
VALID = segment(instruments=9, seed=1)


def blocks_of(whole: Segment, number: int) -> list[Segment]:
    """Cut a segment into blocks of whole instruments; rows stay, samples are divided."""
    parts = np.array_split(np.unique(whole.samples.instrument_S), number)
    return [
        Segment(source=whole.source, samples=whole.samples.take(np.isin(whole.samples.instrument_S, part)))
        for part in parts
    ]


def feed(number: int = 19, batch_size: int = 37) -> StreamingFeed:
    rng = np.random.default_rng(0)

    def blocks() -> Iterator[Segment]:
        parts = blocks_of(WHOLE, number)
        return iter([parts[i] for i in rng.permutation(len(parts))])

    return StreamingFeed(blocks, batch_size=batch_size, seed=0, world=SOLO, device=CPU, shape=(WINDOW, FEATURES))


def content(batches: list[Batch]) -> np.ndarray:
    """Return every window with its label, sorted: a set that two feeds can be compared by."""
    rows = [torch.cat([b.inputs.x_BWF.flatten(1), b.label_B[:, None]], dim=1).numpy() for b in batches]
    together = np.concatenate(rows)
    return together[np.lexsort(together.T)]


@pytest.mark.parametrize("epoch", [1, 2])
def test_every_epoch_has_the_samples_of_resident_data(epoch: int) -> None:
    resident = ResidentFeed(WHOLE, batch_size=37, seed=0, world=SOLO, device=CPU, drop_last=False)
    streamed = list(feed().epoch(epoch))
    np.testing.assert_array_equal(content(streamed), content(list(resident.epoch(epoch))))
    assert {len(batch.label_B) for batch in streamed[:-1]} == {37}
    assert all(batch.count == len(batch.label_B) for batch in streamed)


def test_epochs_differ_in_order_and_batches_mix_blocks() -> None:
    stream = feed()
    first, second = (next(iter(stream.epoch(epoch))).label_B for epoch in (1, 2))
    assert not torch.equal(first, second)
    labels_by_block = [set(block.samples.label_S.tolist()) for block in blocks_of(WHOLE, 19)]
    assert sum(bool(labels & set(first.tolist())) for labels in labels_by_block) >= 6


def test_validation_equals_that_of_resident_data() -> None:
    wanted = options(max_epochs=1, lr=1e-12)
    evaluation = StreamingEvaluation(lambda: iter(blocks_of(VALID, 4)), batch_size=64, device=CPU)
    resident = feeds(WHOLE, VALID, wanted)
    streamed = fit(network(), Feeds(train=feed(), valid=evaluation), wanted).history[0]
    expected = fit(network(), resident, wanted).history[0]
    assert streamed.valid_loss == pytest.approx(expected.valid_loss, rel=1e-6)
    assert streamed.valid_rank_ic == pytest.approx(expected.valid_rank_ic, rel=1e-6)
    assert streamed.train_loss == pytest.approx(expected.train_loss, rel=1e-5)


def test_an_empty_stream_ends_at_once() -> None:
    empty = StreamingFeed(lambda: iter([]), batch_size=37, seed=0, world=SOLO, device=CPU, shape=(WINDOW, FEATURES))
    assert list(empty.epoch(1)) == []
