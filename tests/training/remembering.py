"""A small TRA, its panel and its feeds, and one process of a group that trains it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from raybench.config import TrainConfig
from raybench.config.networks.tra import TRA as Keys
from raybench.feeds.bank import Bank
from raybench.feeds.batches import ResidentEvaluation, ResidentFeed
from raybench.feeds.feeds import Feeds
from raybench.feeds.world import SOLO, World
from raybench.models.networks.tra import TRA
from raybench.panel import Panel
from raybench.processors import FittedProcessors
from raybench.training.loop import fit
from raybench.training.state import to_bytes
from tests.process_group import joined, leave
from tests.training.learnable import CPU, FEATURES, WINDOW, options, segment

INSTRUMENTS, DATES, BORDER = 9, 40, 28
KEYS: dict[str, Any] = {"model_config": {"hidden_size": 6, "num_layers": 1}, "tra_config": {"hidden_size": 4}}


def tra(**changes: Any) -> TRA:
    """Return a small seeded network."""
    torch.manual_seed(5)
    return TRA(FEATURES, **Keys.model_validate({**KEYS, **changes}).kwargs, step_len=WINDOW)


def panel() -> Panel:
    """One market of which the first dates are train and the others valid; one sample of each has no label."""
    whole = segment(INSTRUMENTS, DATES)
    label_S = whole.samples.label_S.copy()
    label_S[[40, -5]] = np.nan
    samples = replace(whole.samples, label_S=label_S)
    early_S = samples.date_S < BORDER
    return Panel(
        instruments=tuple(f"I{i}" for i in range(INSTRUMENTS)),
        dates=np.arange("2020-01-01", "2020-02-10", dtype="datetime64[D]").astype("datetime64[us]"),
        segments={
            "train": replace(whole, samples=samples.take(early_S)),
            "valid": replace(whole, samples=samples.take(~early_S)),
        },
        columns=("a", "b", "c"),
        processors=FittedProcessors(table_columns=("a", "b", "c"), infer=(), learn=()),
        fingerprint="none",
    )


def feeds(network: TRA, wanted: TrainConfig, world: World = SOLO) -> Feeds:
    """Return resident feeds on the CPU, with a bank."""
    market = panel()
    train, valid = market.segments["train"], market.segments["valid"]
    bank = Bank(network, market, [train, valid], batch_size=50, world=world, device=CPU)
    size = {"world": world, "device": CPU, "memory": bank.memory}
    return Feeds(
        train=ResidentFeed(train, batch_size=wanted.batch_size, seed=wanted.seed, drop_last=False, **size),
        valid=ResidentEvaluation(valid, batch_size=64, **size),
        bank=bank,
    )


def member(rank: int, size: int, rendezvous: str, out: str) -> None:
    """Train as ``rank`` of ``size`` gloo processes and save the state.

    Which predictor is drawn in training depends on the worker, so here it is the likeliest.
    """
    wanted = options(max_epochs=2, batch_size=81)  # 247 samples or so: the tail is smaller than a full share
    world = joined(rank, size, rendezvous)
    nn.functional.gumbel_softmax = likeliest  # type: ignore[assignment]
    network = tra()
    state = fit(network, feeds(network, wanted, world), wanted, world=world)
    Path(f"{out}/{rank}.pt").write_bytes(to_bytes(state))
    leave()


def likeliest(logit_NK: Tensor, *, tau: float, hard: bool, dim: int) -> Tensor:
    """Choose without noise; the gradient is that of the softmax."""
    soft_NK = (logit_NK / tau).softmax(dim)
    hard_NK = nn.functional.one_hot(logit_NK.argmax(dim), logit_NK.shape[1]).to(soft_NK)
    return hard_NK - soft_NK.detach() + soft_NK
