"""Training with a memory of losses: refreshed from the weights alone, equal for all workers, resumed anywhere."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp
from torch import Tensor

from raybench.feeds.memory import StoredMemory
from raybench.models.networks.tra import TRA
from raybench.training.loop import fit
from raybench.training.reporter import FunctionReporter
from raybench.training.state import TrainState, from_bytes, to_bytes
from tests.training.learnable import WINDOW, options
from tests.training.remembering import BORDER, DATES, feeds, member, panel, tra
from tests.training.test_loop import without_time

WANTED = options(max_epochs=3)


def trained(state: TrainState | None = None, saved: list[bytes] | None = None) -> TrainState:
    network, kept = tra(), [] if saved is None else saved
    return fit(
        network,
        feeds(network, WANTED),
        WANTED,
        state=state,
        reporter=FunctionReporter(on_epoch=lambda s: kept.append(to_bytes(s))),
    )


@pytest.mark.parametrize("epoch", [1, 3, 4])
def test_resumed_equals_unbroken_exactly(epoch: int) -> None:
    """Epochs 1 to 3 are the pretraining's."""
    saved: list[bytes] = []
    whole = trained(saved=saved)
    torch.rand(7)  # another process would have drawn other numbers by now
    resumed = trained(from_bytes(saved[epoch - 1]))
    assert len(whole.history) == 6
    assert str(without_time(resumed)) == str(without_time(whole))
    assert resumed.best_memory == whole.best_memory != b""
    for name, value in whole.best_weights.items():
        assert torch.equal(value, resumed.best_weights[name])


def test_what_is_stored_is_what_the_best_weights_give() -> None:
    state = trained()
    stored = StoredMemory.from_bytes(state.best_memory)
    market, network = panel(), tra().eval()
    network.load_state_dict(state.best_weights)
    samples = market.segments["valid"].samples
    last = DATES - (WINDOW + network.horizon)
    assert list(stored.dates) == list(market.dates[last:])
    assert stored.instruments == market.instruments
    assert last >= BORDER, "all that is stored is of the validation segment"
    expected_NTK = torch.zeros(len(market.instruments), DATES, 3)
    x_NWF = market.segments["valid"].source.gather(torch.from_numpy(samples.row_S))
    known = torch.from_numpy(~np.isnan(samples.label_S))
    at = [torch.from_numpy(codes).long()[known] for codes in (samples.instrument_S, samples.date_S)]
    expected_NTK[at[0], at[1]] = network.errors(x_NWF, torch.from_numpy(samples.label_S))[known]
    torch.testing.assert_close(stored.loss_NTK, expected_NTK[:, last:], atol=1e-5, rtol=1e-5)
    assert (stored.loss_NTK == 0).all(dim=2).any(), "a sample without a row or a label"


def test_memory_is_that_of_the_weights_before_each_pass() -> None:
    """Training and validation of an epoch see the losses of the weights that the epoch began and ended with."""
    network, seen = tra(pretrain=False), []
    given = feeds(network, WANTED)
    assert given.bank is not None
    memory, refresh = given.bank.memory, given.bank.refresh
    state_of: list[Tensor] = []
    given.bank.refresh = lambda model: (refresh(model), state_of.append(memory.loss_NTK.clone()))  # type: ignore[method-assign,assignment,return-value]
    read = memory.read
    memory.read = lambda *codes: (seen.append(memory.loss_NTK.clone()), read(*codes))[1]  # type: ignore[method-assign]
    fit(network, given, WANTED)
    assert len(state_of) == 1 + 3
    steps, passes = given.train.steps(), 2  # of validation
    assert steps is not None
    per_epoch = steps + passes
    assert len(seen) == 3 * per_epoch
    for epoch in range(3):
        of_epoch = seen[epoch * per_epoch : (epoch + 1) * per_epoch]
        assert all(torch.equal(table, state_of[epoch]) for table in of_epoch[:steps])
        assert all(torch.equal(table, state_of[epoch + 1]) for table in of_epoch[steps:])
    assert not torch.equal(state_of[0], state_of[1])


def test_steps_are_counted_from_the_start_of_a_phase(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[int] = []
    loss = TRA.loss
    monkeypatch.setattr(TRA, "loss", lambda self, made, batch: (counted.append(batch.step), loss(self, made, batch))[1])
    saved: list[bytes] = []
    trained(saved=saved)
    assert counted == list(range(len(counted)))
    before, steps = len(counted), len(counted) // 3
    trained(from_bytes(saved[3]))  # after one epoch of the second phase
    assert counted[before:] == list(range(steps, before))


@pytest.mark.slow
def test_two_workers_agree_with_one() -> None:
    """But for what is drawn in training, which depends on the worker."""
    states = [group(size) for size in (1, 2)]
    for zero, *others in states:
        for other in others:
            assert zero.best_memory == other.best_memory
            assert str(without_time(zero)) == str(without_time(other))
    one, two = states[0][0], states[1][0]
    for left, right in zip(one.history, two.history, strict=True):
        found = [(r.train_loss, r.valid_loss, r.valid_ic, r.valid_rank_ic, r.grad_norm) for r in (left, right)]
        np.testing.assert_allclose(*found, atol=1e-5, rtol=1e-5)
    stored = [StoredMemory.from_bytes(state.best_memory).loss_NTK for state in (one, two)]
    torch.testing.assert_close(*stored, atol=1e-4, rtol=1e-4)


def group(size: int) -> list[TrainState]:
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(member, (size, f"{folder}/rendezvous", folder), nprocs=size)
        return [from_bytes((Path(folder) / f"{rank}.pt").read_bytes()) for rank in range(size)]
