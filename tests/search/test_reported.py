"""What trials report is finite, says which epoch counts, and is the same when it is said again."""

from __future__ import annotations

import math
from typing import Any

import pytest

from raybench.config.schema import EarlyStop, TrainConfig
from raybench.search.reported import (
    CAUSE,
    GOODNESS,
    OWN_EPOCH,
    WORST,
    epoch_metrics,
    fatal_metrics,
    replayed,
    state_metrics,
)
from raybench.training.state import EpochRecord, TrainState


def record(epoch: int, loss: float, rank_ic: float) -> EpochRecord:
    return EpochRecord(
        epoch=epoch,
        seconds=1.0,
        samples_per_second=1.0,
        train_loss=1.0,
        valid_loss=loss,
        valid_ic=0.0,
        valid_rank_ic=rank_ic,
        grad_norm=1.0,
        lr=1e-3,
    )


def state(epochs: int = 3, **facts: Any) -> TrainState:
    return TrainState(epoch=epochs, history=HISTORY[:epochs], **facts)


HISTORY = [record(1, 1.0, 0.01), record(2, 0.9, math.nan), record(3, 0.95, 0.05)]


def test_the_metric_is_that_of_the_epoch_whose_weights_are_kept() -> None:
    by_loss = list(replayed(state(), TrainConfig(early_stop=EarlyStop(metric="loss")), "rank_ic"))
    assert [each["best_epoch"] for each in by_loss] == [1, 2, 2]
    assert [each[GOODNESS] for each in by_loss] == [0.01, WORST, WORST]  # a NaN is worst, and finite
    by_rank = list(replayed(state(), TrainConfig(early_stop=EarlyStop(metric="rank_ic")), "rank_ic"))
    assert [each["metric"] for each in by_rank] == [0.01, 0.01, 0.05]
    losses = list(replayed(state(), TrainConfig(), "loss"))
    assert [each["metric"] for each in losses] == [1.0, 0.9, 0.9]
    assert [each[GOODNESS] for each in losses] == [-1.0, -0.9, -0.9]


@pytest.mark.parametrize("metric", ["loss", "rank_ic"])
def test_what_is_said_again_is_what_was_said(metric: str) -> None:
    options = TrainConfig(early_stop=EarlyStop(metric="rank_ic"))
    for began in (0, 1, 2):  # epochs of a pretraining before
        reached = state(best_epoch=3, best=0.05, phase_began=began, phase=int(began > 0))
        *_, last = replayed(reached, options, metric)  # type: ignore[arg-type]
        assert last == state_metrics(reached, metric)  # type: ignore[arg-type]
        assert (last[OWN_EPOCH], last["epoch"]) == (3 - began, 3)


def test_a_pretraining_has_no_own_epoch_and_its_losses_are_not_compared() -> None:
    during = state(1, best_epoch=1, best=-1.0, pretraining=True)
    assert state_metrics(during, "loss")[OWN_EPOCH] == 0
    assert list(replayed(during, TrainConfig(), "loss")) == []
    ended = state(2, pretraining=True)
    ended.next_phase({})
    assert state_metrics(ended, "loss")[OWN_EPOCH] == 0
    assert list(replayed(ended, TrainConfig(), "loss")) == []
    after = list(replayed(state(phase=1, phase_began=1, best_epoch=2, best=-0.9), TrainConfig(), "loss"))
    assert [each[OWN_EPOCH] for each in after] == [1, 2]
    assert [each["metric"] for each in after] == [0.9, 0.9]
    assert [each["seconds"] for each in after] == [2.0, 1.0], "a pretraining's seconds count once"
    assert len(list(replayed(state(), TrainConfig(), "loss", until=2))) == 2


def test_a_trial_without_a_metric_is_worst() -> None:
    assert epoch_metrics(HISTORY[0], None, "ic", own=1)[GOODNESS] == WORST
    said = fatal_metrics("it diverged", "TrainingError")
    assert (said[GOODNESS], said[CAUSE], said["done"]) == (WORST, "it diverged", True)
    assert said.keys() >= epoch_metrics(HISTORY[0], None, "ic", own=1).keys() - {"finished"}
