"""One process of a group that trains a network in two phases; in a module that a spawned process can import."""

from __future__ import annotations

from pathlib import Path

import torch

from raybench.config.networks.tabnet import TabNet as Keys
from raybench.models.networks.tabnet import TabNet
from raybench.training.loop import fit
from raybench.training.state import to_bytes
from tests.process_group import joined, leave
from tests.training.learnable import FEATURES, WINDOW, feeds, options, segment

PRETRAINED = 2  # epochs
SIZES = {"n_d": 6, "n_a": 6, "out_dim": 6, "n_steps": 3, "vbs": 16, "pretrain_n_epochs": PRETRAINED}


def tabnet() -> TabNet:
    """Return a small seeded network."""
    torch.manual_seed(5)
    return TabNet(FEATURES, **Keys.model_validate(SIZES).kwargs, step_len=WINDOW)


def member(rank: int, size: int, rendezvous: str, out: str) -> None:
    """Train as ``rank`` of ``size`` gloo processes and save the state."""
    wanted = options(max_epochs=2, batch_size=65)
    train, valid = segment(seed=0), segment(seed=1)
    train = type(train)(source=train.source, samples=train.samples.take(slice(0, 131)))  # the last batch has one
    world = joined(rank, size, rendezvous)
    state = fit(tabnet(), feeds(train, valid, wanted, world), wanted, world=world)
    Path(f"{out}/{rank}.pt").write_bytes(to_bytes(state))
    leave()
