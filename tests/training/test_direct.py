"""Fitting without gradient steps, as a training of one epoch: same feeds, same state, any number of workers."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp

from raybench.errors import TrainingError
from raybench.feeds.world import SOLO
from raybench.panel import Segment
from raybench.training.direct import fit_at_once
from raybench.training.reporter import FunctionReporter
from raybench.training.state import TrainState, from_bytes, to_bytes
from tests.training.direct_member import direct_feeds, linear, member, outcome
from tests.training.learnable import options, segment

TRAIN, VALID = segment(seed=0), segment(seed=1)


def test_one_epoch_finished_that_a_checkpoint_holds() -> None:
    reached: list[TrainState] = []
    model, wanted = linear(), options()
    state = fit_at_once(
        model, direct_feeds(TRAIN, VALID, wanted), wanted, reporter=FunctionReporter(on_epoch=reached.append)
    )
    assert reached == [state]
    assert (state.epoch, state.best_epoch, state.finished) == (1, 1, True)
    record = state.best_record()
    assert record.valid_rank_ic > 0.6
    assert state.best == -record.valid_loss
    assert math.isnan(record.grad_norm)
    assert math.isnan(record.lr)
    assert record.samples_per_second * record.seconds == pytest.approx(len(TRAIN.samples))
    again = from_bytes(to_bytes(state))
    assert again.finished
    assert torch.equal(again.best_weights["linear.weight"], model.state_dict()["linear.weight"])


def test_the_losses_are_those_of_the_fitted_weights() -> None:
    """Least squares over the very samples: no other weights have a smaller loss on them."""
    wanted = options(precision="fp64")
    model = linear("fp64")
    record = fit_at_once(model, direct_feeds(TRAIN, VALID, wanted), wanted).best_record()
    flat_SK = TRAIN.source.gather(torch.as_tensor(TRAIN.samples.row_S)).transpose(1, 2).flatten(1).numpy()
    label_S = TRAIN.samples.label_S.astype(np.float64)
    residual = np.linalg.lstsq(flat_SK.astype(np.float64), label_S, rcond=None)[1]
    assert record.train_loss == pytest.approx(float(residual[0]) / len(label_S), rel=1e-10)
    assert record.valid_loss > record.train_loss


def test_samples_without_a_label_teach_nothing() -> None:
    missing_S = np.arange(len(TRAIN.samples)) % 3 == 0
    label_S = np.where(missing_S, np.nan, TRAIN.samples.label_S).astype(np.float32)
    partly = Segment(source=TRAIN.source, samples=dataclasses.replace(TRAIN.samples, label_S=label_S))
    without = Segment(source=TRAIN.source, samples=TRAIN.samples.take(~missing_S))
    wanted = options(precision="fp64")
    found, expected = (
        fit_at_once(linear("fp64"), direct_feeds(train, VALID, wanted), wanted) for train in (partly, without)
    )
    torch.testing.assert_close(found.weights["linear.weight"], expected.weights["linear.weight"], atol=1e-12, rtol=0.0)
    assert found.best_record().train_loss == pytest.approx(expected.best_record().train_loss, rel=1e-12)


def test_an_empty_validation_segment_is_named() -> None:
    empty = Segment(source=VALID.source, samples=VALID.samples.take(slice(0, 0)))
    wanted = options()
    with pytest.raises(TrainingError, match=r"data\.segments\.valid"):
        fit_at_once(linear(), direct_feeds(TRAIN, empty, wanted), wanted)


@pytest.mark.slow
def test_two_workers_find_what_one_does(tmp_path: Path) -> None:
    mp.spawn(member, (2, f"{tmp_path}/rendezvous", str(tmp_path)), nprocs=2)
    zero, one = (np.load(tmp_path / f"{rank}.npy") for rank in range(2))
    np.testing.assert_array_equal(zero, one)
    np.testing.assert_allclose(zero, outcome(SOLO), atol=1e-10, rtol=0.0)
