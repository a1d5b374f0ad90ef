"""A training as people see it."""

from __future__ import annotations

import io
from typing import Any

import pytest

from raybench.cli.progress_bars import LineProgress
from raybench.cluster.epochs import EpochBars, names
from raybench.config import load_config
from raybench.config.schema import TrainConfig


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def train() -> TrainConfig:
    return load_config("configs/gru_alpha158.yaml", ["train.early_stop.patience=3", "train.max_epochs=50"]).train


def epoch(number: int, loss: float, **more: Any) -> dict[str, Any]:
    return {"epoch": number, "valid_loss": loss, "valid_ic": 0.01, "valid_rank_ic": 0.02, **more}


def lines(train: TrainConfig, *events: tuple[float, str, Any], name: str = "training") -> list[str]:
    """What is written of events that come so many seconds after each other."""
    stream, clock = io.StringIO(), Clock()
    with EpochBars(LineProgress(stream, every=1.0, clock=clock), train, name=name, clock=clock) as bars:
        for seconds, kind, value in events:
            clock.now += seconds
            bars.hear(kind, value)
    return stream.getvalue().splitlines()


def test_epochs_are_counted_and_the_end_comes_nearer(train: TrainConfig) -> None:
    losses = (1.0, 0.9, 0.95, 0.9)
    said = lines(train, *((2.0, "epoch", epoch(k, loss)) for k, loss in enumerate(losses, 1)))
    rank_ic = "Rank IC 0.0200"
    assert said == [
        "training: 2/50, the best yet, valid loss 0.90000, Rank IC 0.0200",
        f"training: 3/50, 2.0 s each, at most 94 s left, no better for 1 of 3 epochs, valid loss 0.95000, {rank_ic}",
        f"training: 4/50, 2.0 s each, at most 92 s left, no better for 2 of 3 epochs, valid loss 0.90000, {rank_ic}",
        "training: 4 in 6.0 s, no better for 2 of 3 epochs, valid loss 0.90000, Rank IC 0.0200",
    ]


def test_the_first_epoch_counts_where_the_last_one_is_known(train: TrainConfig) -> None:
    stream, clock = io.StringIO(), Clock()
    with EpochBars(LineProgress(stream, clock=clock), train, last_epoch=1, clock=clock) as bars:
        bars.hear("step", ("epoch 1", 4, 0))
        clock.now += 2.0
        bars.hear("epoch", epoch(1, 1.0))
    assert stream.getvalue() == "training: 1 in 2.0 s, the best yet, valid loss 1.00000, Rank IC 0.0200\n"


def test_no_time_is_said_before_three_epochs(train: TrainConfig) -> None:
    said = lines(train, (2.0, "epoch", epoch(1, 1.0)), (2.0, "epoch", epoch(2, 1.0)))
    assert not any("left" in line for line in said)


def test_an_epoch_that_is_told_again_or_gone_on_from(train: TrainConfig) -> None:
    """After a restart the same epoch may come again; with --resume the first one is not number one."""
    said = lines(
        train, *((2.0, "epoch", epoch(k, 1.0, best_epoch=5, last_epoch=9)) for k in (7, 7, 8)), name="seed 3 (2 of 5)"
    )
    assert said[-1] == "seed 3 (2 of 5): 8 in 4.0 s, no better for 3 of 3 epochs, valid loss 1.00000, Rank IC 0.0200"


def test_a_long_epoch_shows_its_steps(train: TrainConfig) -> None:
    steps = [(2.0, "step", ("epoch 1", 400, done)) for done in (0, 10, 20, 30, 40, 50)]
    said = lines(train, *steps, (2.0, "epoch", epoch(1, 1.0)))
    assert "epoch 1: 50/400, 5/s, 70 s left" in said
    assert not any(line.startswith("epoch 1: 10") for line in said)


def test_a_short_epoch_does_not(train: TrainConfig) -> None:
    steps = [(0.3, "step", ("epoch 1", 4, done)) for done in (0, 2, 4)]
    assert lines(train, *steps) == []


def test_what_is_sent_as_a_note(train: TrainConfig) -> None:
    assert lines(train, (1.0, "note", "look here")) == ["look here"]


def test_what_several_trainings_are_called() -> None:
    configs = [load_config("configs/gru_alpha158.yaml", [f"train.seed={seed}"]) for seed in (7, 9)]
    assert names(configs) == ["seed 7 (1 of 2)", "seed 9 (2 of 2)"]
    assert names(configs[:1]) == ["training"]
