"""Batches of whole dates: what is in them, what the loss is, and any number of workers."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from raybench.feeds.dates import DateEvaluation, DateFeed, Groups, groups_of
from raybench.feeds.world import SOLO, World
from raybench.panel import Segment
from raybench.training.loop import fit
from raybench.training.validation import mean_of_means, validate
from tests.training.learnable import CPU, Centred, date_feeds, options, segment
from tests.training.member import date_member, trajectory

TRAIN, VALID = segment(seed=0), segment(seed=1)


@dataclasses.dataclass(frozen=True)
class Rank:
    """One of several workers, as far as sharding goes."""

    rank: int
    size: int


def feed(train: Segment = TRAIN, world: World = SOLO, dates: int = 3) -> DateFeed:
    return DateFeed(train, Groups.of_dates(train.samples), dates_per_batch=dates, seed=0, world=world, device=CPU)


def test_a_batch_is_whole_dates() -> None:
    seen: list[int] = []
    labels = TRAIN.samples.label_S
    for batch in feed().epoch(1):
        sizes = batch.inputs.sizes
        assert sizes is not None
        for part in batch.label_B.split(sizes):
            dates = TRAIN.samples.date_S[np.isin(labels, part.numpy())]
            assert len(set(dates)) == 1
            assert len(part) == (TRAIN.samples.date_S == dates[0]).sum()
            seen.append(int(dates[0]))
        assert batch.samples == sum(sizes)
        assert batch.count == len(sizes)
    assert sorted(seen) == list(range(23))
    assert seen != sorted(seen)


def test_dates_are_shuffled_by_seed_and_epoch_alone() -> None:
    first, again, later = ([b.label_B.tolist() for b in feed().epoch(epoch)] for epoch in (1, 1, 2))
    assert first == again
    assert first != later


def test_workers_share_the_dates_of_a_batch() -> None:
    """23 dates in batches of 4: the last has three, so one of four workers has none and weighs nothing."""
    whole = list(feed(dates=4).epoch(1))
    ranks = [list(feed(world=Rank(rank, 4), dates=4).epoch(1)) for rank in range(4)]  # type: ignore[arg-type]
    assert len({len(batches) for batches in ranks}) == 1
    for number, batch in enumerate(whole):
        parts = [batches[number] for batches in ranks]
        kept = torch.cat([part.label_B for part in parts if part.weight_B is not None and part.weight_B.any()])
        assert torch.equal(kept, batch.label_B)
        assert {part.count for part in parts} == {batch.count}
    assert not all(batches[-1].weight_B.any() for batches in ranks if batches[-1].weight_B is not None)


@pytest.mark.parametrize("accumulate_steps", [1, 2, 7])
def test_several_dates_are_as_one_at_a_time(accumulate_steps: int) -> None:
    """The gradient of a batch is the mean of those of its dates."""
    torch.manual_seed(0)
    model = Centred().double()
    batch = next(iter(feed(dates=4).epoch(1)))
    one_by_one = []
    for date in batch.parts(4):
        model.zero_grad()
        torch.nn.functional.mse_loss(date.inputs.call(model, torch.float64), date.label_B.double()).backward()
        one_by_one.append(model.weight_F.grad.clone())  # type: ignore[union-attr]
    model.zero_grad()
    for part in batch.parts(accumulate_steps):
        error_B = (part.inputs.call(model, torch.float64) - part.label_B).square()
        (error_B * part.weight_B / batch.count).sum().backward()
    torch.testing.assert_close(model.weight_F.grad, torch.stack(one_by_one).mean(dim=0), atol=1e-7, rtol=1e-6)


def test_samples_without_label_take_part_but_do_not_count() -> None:
    samples = TRAIN.samples
    label_S = samples.label_S.copy()
    label_S[::3] = np.nan
    label_S[samples.date_S == 2] = np.nan
    partly = Segment(source=TRAIN.source, samples=dataclasses.replace(samples, label_S=label_S))
    wanted = options(dates_per_batch=4, lr=1e-9)
    state = fit(Centred(), date_feeds(partly, VALID, wanted), wanted)
    model = Centred()
    scores = np.concatenate(
        [
            i.call(model).detach().numpy()
            for i, _ in DateEvaluation(partly, groups(partly), world=SOLO, device=CPU).batches()
        ]
    )
    error_S = np.square(scores - label_S)
    by_batch = [b.count for b in feed(partly, dates=4).epoch(1)]
    assert sum(by_batch) == 22
    assert state.history[0].train_loss == pytest.approx(mean_of_means(error_S, samples.date_S), rel=1e-5)


def groups(of: Segment) -> Groups:
    return groups_of(of, qlib_cuts=False)


def test_qlib_cuts_samples_by_instrument_where_dates_would_end() -> None:
    order = np.lexsort((TRAIN.samples.date_S, TRAIN.samples.instrument_S))
    by_instrument = Segment(source=TRAIN.source, samples=TRAIN.samples.take(order))
    cut = Groups.as_qlib_cuts(by_instrument.samples)
    sizes = np.unique(TRAIN.samples.date_S, return_counts=True)[1]
    np.testing.assert_array_equal(np.diff(cut.bound_D), sizes)
    made = DateFeed(by_instrument, cut, dates_per_batch=1, seed=0, world=SOLO, device=CPU)
    epochs = [torch.cat([batch.label_B for batch in made.epoch(epoch)]).numpy() for epoch in (1, 2)]
    for labels in epochs:
        np.testing.assert_array_equal(labels, by_instrument.samples.label_S)
    assert len(set(by_instrument.samples.instrument_S[: sizes[0]])) == 1


def test_validation_is_over_whole_dates() -> None:
    """The centred score sums to nothing on each date only if the network was given whole dates."""
    model = Centred()
    feed = DateEvaluation(VALID, groups(VALID), world=SOLO, device=CPU)
    for inputs, rows in feed.batches():
        assert abs(float(inputs.call(model).detach().sum())) < 1e-4
        assert len(rows.date_B.unique()) == 1
    by_count = validate(model, feed, SOLO, autocast=None, qlib_batch=None)
    by_date = validate(model, feed, SOLO, autocast=None, qlib_batch="dates")
    assert by_count.loss != by_date.loss
    assert by_count.rank_ic == by_date.rank_ic


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-5), ("fp64", 1e-10)])
def test_one_two_and_four_workers_agree(precision: str, tolerance: float) -> None:
    """23 dates in batches of four: the last batch has three."""
    one, two, four = (trajectory(size, precision, date_member) for size in (1, 2, 4))
    np.testing.assert_allclose(two, one, atol=tolerance, rtol=tolerance)
    np.testing.assert_allclose(four, one, atol=tolerance, rtol=tolerance)
