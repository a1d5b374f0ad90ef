"""A network that is pretrained: two phases of one training, on any number of workers, resumed anywhere."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as mp
from torch import Tensor

from raybench.models.networks.tabnet import TabNet
from raybench.training.loop import fit
from raybench.training.reporter import FunctionReporter
from raybench.training.state import TrainState, from_bytes, to_bytes
from tests.training.learnable import feeds, options, segment
from tests.training.phase_member import PRETRAINED, member, tabnet
from tests.training.test_loop import without_time

TRAIN, VALID = segment(seed=0), segment(seed=1)
WANTED = options(max_epochs=3)


def trained(state: TrainState | None = None, saved: list[bytes] | None = None) -> tuple[TabNet, TrainState]:
    network, kept = tabnet(), [] if saved is None else saved
    ended = fit(
        network,
        feeds(TRAIN, VALID, WANTED),
        WANTED,
        state=state,
        reporter=FunctionReporter(on_epoch=lambda s: kept.append(to_bytes(s))),
    )
    return network, ended


def test_epochs_of_both_phases_follow_each_other() -> None:
    saved: list[bytes] = []
    network, state = trained(saved=saved)
    assert [record.epoch for record in state.history] == [1, 2, 3, 4, 5]
    first, second = state.history[:PRETRAINED], state.history[PRETRAINED:]
    assert all(math.isnan(record.valid_rank_ic) and record.valid_loss > 0 for record in first)
    assert first[-1].train_loss < first[0].train_loss
    assert all(math.isfinite(record.valid_rank_ic) for record in second)
    assert state.best_epoch > PRETRAINED
    assert state.best_weights.keys() == network.state_dict().keys()

    border = from_bytes(saved[PRETRAINED - 1])
    fresh = tabnet().state_dict()
    moved = {name for name, value in border.weights.items() if not torch.equal(value, fresh[name])}
    assert moved >= {name for name, _ in network.named_parameters() if name.startswith("model.")}
    assert moved.isdisjoint({"fc.weight", "fc.bias"})


def test_each_phase_has_a_schedule_of_its_own_length() -> None:
    wanted = options(max_epochs=3, lr=0.01, lr_schedule={"type": "cosine", "min_lr": 0.0})
    last: list[int] = []
    state = fit(
        tabnet(),
        feeds(TRAIN, VALID, wanted),
        wanted,
        reporter=FunctionReporter(on_epoch=lambda s: last.append(s.last_epoch)),
    )
    assert [record.lr for record in state.history] == pytest.approx([0.01, 0.005, 0.01, 0.0075, 0.0025])
    assert last == [5] * 5


@pytest.mark.parametrize("epoch", [1, PRETRAINED, PRETRAINED + 1])
def test_resumed_equals_unbroken_exactly(epoch: int) -> None:
    saved: list[bytes] = []
    _, whole = trained(saved=saved)
    torch.rand(7)  # another process would have drawn other numbers by now
    _, resumed = trained(from_bytes(saved[epoch - 1]))
    assert str(without_time(resumed)) == str(without_time(whole))  # NaN is not equal to itself
    for name, value in whole.best_weights.items():
        assert torch.equal(value, resumed.best_weights[name])


@pytest.mark.slow
def test_workers_agree_on_weights_and_running_statistics() -> None:
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(member, (2, f"{folder}/rendezvous", folder), nprocs=2)
        zero, one = (from_bytes((Path(folder) / f"{rank}.pt").read_bytes()) for rank in range(2))
    assert str(without_time(zero)) == str(without_time(one))
    for name, value in zero.weights.items():
        assert torch.equal(value, one.weights[name]), name
    assert spread(zero.weights["model.bn.running_var"]) > 0


def spread(value: Tensor) -> float:
    return float(value.max() - value.min())
