"""A linear network on the learnable problem, and one process of a group that fits it; a spawned one can import this."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from raybench.config import TrainConfig
from raybench.feeds.batches import ResidentEvaluation
from raybench.feeds.feeds import Feeds
from raybench.feeds.world import SOLO, World
from raybench.models.networks.linear import Linear
from raybench.panel import Segment
from raybench.training.direct import fit_at_once
from tests.process_group import joined, leave
from tests.training.learnable import CPU, FEATURES, WINDOW, feeds, options, segment


def linear(precision: str = "fp32", *, fit_intercept: bool = False) -> Linear:
    """Return an unfitted network."""
    model = Linear(FEATURES, WINDOW, fit_intercept=fit_intercept)
    return model.double() if precision == "fp64" else model


def direct_feeds(train: Segment, valid: Segment, wanted: TrainConfig, world: World = SOLO) -> Feeds:
    """Return resident feeds with a pass over the training samples for their loss."""
    again = ResidentEvaluation(train, batch_size=64, world=world, device=CPU)
    return dataclasses.replace(feeds(train, valid, wanted, world), train_again=again)


def outcome(world: World) -> np.ndarray:
    """Fit 131 samples in batches of 65, whose last leaves all ranks but one without any; weights and losses."""
    wanted = options(precision="fp64", batch_size=65)
    train, valid = segment(seed=0), segment(seed=1)
    train = dataclasses.replace(train, samples=train.samples.take(slice(0, 131)))
    model = linear("fp64", fit_intercept=True)
    state = fit_at_once(model, direct_feeds(train, valid, wanted, world), wanted, world=world)
    record = state.best_record()
    weights = torch.cat([value.flatten() for value in state.weights.values()]).numpy()
    return np.append(weights, [record.train_loss, record.valid_loss, record.valid_rank_ic])


def member(rank: int, size: int, rendezvous: str, out: str) -> None:
    """Fit as ``rank`` of ``size`` gloo processes and save the outcome."""
    world = joined(rank, size, rendezvous)
    np.save(f"{out}/{rank}.npy", outcome(world))
    leave()
