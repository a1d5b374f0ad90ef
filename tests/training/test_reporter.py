"""The loop and whoever runs it: told of every epoch, asked whether to stop, told what ended it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp

from raybench.config import Config, load_config
from raybench.errors import TrainingError, UserError
from raybench.feeds.feeds import Feeds
from raybench.feeds.world import SOLO, World
from raybench.progress import SILENT
from raybench.training.rank import fit_rank
from raybench.training.state import EpochRecord, TrainState
from tests.training.learnable import FEATURES, WINDOW, feeds, segment
from tests.training.member import stopped_member

TRAIN, VALID = segment(seed=0), segment(seed=1)
COLUMNS = ("KMID", "KLEN", "KUP")[:FEATURES]


def config(**train: Any) -> Config:
    data = {
        "bars": "-",
        "universe": "all",
        "feature_set": {"type": "alpha158", "columns": list(COLUMNS)},
        "step_len": WINDOW,
        "segments": {
            "train": ["2014-01-01", "2014-06-30"],
            "valid": ["2014-07-01", "2014-09-30"],
            "test": ["2014-10-01", "2014-12-31"],
        },
    }
    model = {"type": "gru", "hidden_size": 4, "num_layers": 1}
    return load_config({"data": data, "model": model, "train": {"max_epochs": 3, "batch_size": 64, **train}})


class Kept:
    """Keeps what it is told; stops after an epoch."""

    def __init__(self, last: int | None = None) -> None:
        self.last = last
        self.states: list[tuple[int, bool]] = []
        self.causes: list[UserError] = []

    def asked_to_stop(self, record: EpochRecord) -> bool:
        return record.epoch == self.last

    def report(self, state: TrainState) -> None:
        self.states.append((state.epoch, state.finished))

    def fatal(self, cause: UserError) -> None:
        self.causes.append(cause)


def run(wanted: Config, reporter: Kept) -> TrainState:
    def made(config: Config, world: World, device: torch.device, **_: Any) -> Feeds:
        return feeds(TRAIN, VALID, config.train)

    return fit_rank(
        wanted,
        COLUMNS,
        made,
        world=SOLO,
        device=torch.device("cpu"),
        state=None,
        reporter=reporter,
        progress=SILENT,
    )


def test_every_epoch_is_reported_and_the_last_as_finished() -> None:
    reporter = Kept()
    run(config(), reporter)
    assert reporter.states == [(1, False), (2, False), (3, True)]
    assert reporter.causes == []


def test_a_training_that_is_asked_to_stop_is_reported_as_finished() -> None:
    """So what is kept is a whole training with its best weights, and no command goes on with it."""
    reporter, whole = Kept(last=2), run(config(max_epochs=2), Kept())
    stopped = run(config(), reporter)
    assert reporter.states == [(1, False), (2, True)]
    assert all(torch.equal(value, whole.best_weights[name]) for name, value in stopped.best_weights.items())


def test_the_cause_is_told_before_it_is_raised() -> None:
    reporter = Kept()
    with pytest.raises(TrainingError, match=r"the training diverged; lower train\.lr") as raised:
        run(config(lr=1e30, max_epochs=2), reporter)
    assert reporter.causes == [raised.value]
    assert reporter.states == []


def test_what_may_pass_is_not_fatal() -> None:
    """A worker that is lost, or a disk that is full for a while: whoever runs the training tries again."""
    reporter = Kept()

    def lost(state: TrainState) -> None:
        raise OSError(28, "no room")

    reporter.report = lost  # type: ignore[method-assign]
    with pytest.raises(OSError, match="no room"):
        run(config(), reporter)
    assert reporter.causes == []


@pytest.mark.slow
def test_one_rank_that_is_asked_is_enough(tmp_path: Path) -> None:
    """All ranks end with the same epoch: one that went on would wait for the others for ever."""
    mp.spawn(stopped_member, (2, f"{tmp_path}/rendezvous", str(tmp_path)), nprocs=2)
    epochs = [len(np.load(tmp_path / f"{rank}.npy")) for rank in range(2)]
    assert epochs == [2, 2]
