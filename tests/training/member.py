"""One process of a training group; in a module of its own, which a spawned process can import."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch.multiprocessing as mp

from raybench.models.fused.choice import fused_layers
from raybench.training.loop import fit
from raybench.training.reporter import FunctionReporter
from raybench.training.state import TrainState
from tests.process_group import joined, leave
from tests.training.learnable import Centred, date_feeds, feeds, network, options, segment


def member(rank: int, size: int, rendezvous: str, precision: str, out: str) -> None:
    """Train on windows as ``rank`` of ``size`` gloo processes and save what the history says."""
    wanted = options(precision=precision, batch_size=65)
    # 195 training samples or so: the last batch is smaller than the group for some sizes
    train, valid = segment(seed=0), segment(seed=1)
    train = type(train)(source=train.source, samples=train.samples.take(slice(0, 131)))
    world = joined(rank, size, rendezvous)
    save(fit(network(precision), feeds(train, valid, wanted, world), wanted, world=world), f"{out}/{rank}.npy")


def fused_member(rank: int, size: int, rendezvous: str, precision: str, out: str) -> None:
    """As ``member``, with fused recurrent layers."""
    with fused_layers():
        member(rank, size, rendezvous, precision, out)


def date_member(rank: int, size: int, rendezvous: str, precision: str, out: str) -> None:
    """Train on whole dates as ``rank`` of ``size`` gloo processes and save what the history says."""
    wanted = options(precision=precision, dates_per_batch=4)
    world = joined(rank, size, rendezvous)
    model = Centred().double() if precision == "fp64" else Centred()
    given = date_feeds(segment(seed=0), segment(seed=1), wanted, world)
    save(fit(model, given, wanted, world=world), f"{out}/{rank}.npy")


def stopped_member(rank: int, size: int, rendezvous: str, out: str) -> None:
    """Train as ``rank`` of ``size`` processes, of which the last alone is asked to stop after the second epoch."""
    wanted = options(max_epochs=5)
    world = joined(rank, size, rendezvous)
    told = FunctionReporter(stop_when=lambda record: rank == size - 1 and record.epoch == 2)
    given = feeds(segment(seed=0), segment(seed=1), wanted, world)
    save(fit(network(), given, wanted, world=world, reporter=told), f"{out}/{rank}.npy")


def save(state: TrainState, path: str) -> None:
    """Save the history and leave the group."""
    rows = [(r.train_loss, r.valid_loss, r.valid_ic, r.valid_rank_ic, r.grad_norm) for r in state.history]
    np.save(path, np.array(rows))
    leave()


def trajectory(size: int, precision: str, one: Callable[..., None] = member) -> np.ndarray:
    """Train with ``size`` processes; all of them must report the same."""
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(one, (size, f"{folder}/rendezvous", precision, folder), nprocs=size)
        ranks = [np.load(Path(folder) / f"{rank}.npy") for rank in range(size)]
    for other in ranks[1:]:
        np.testing.assert_array_equal(ranks[0], other)
    return ranks[0]
