"""From a panel that lies in memory to what the loop reads, in a plain process or in one worker of a group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from raybench.config import Config
from raybench.feeds.bank import Bank
from raybench.feeds.batches import EvaluationFeed, ResidentEvaluation, ResidentFeed, TrainingFeed
from raybench.feeds.dates import DateEvaluation, DateFeed, groups_of, qlib_cuts
from raybench.feeds.memory import Remembers
from raybench.feeds.world import World
from raybench.panel import Panel, Segment
from raybench.storage.arrays import Mover

TRAIN, VALID = "train", "valid"


@dataclass(frozen=True, slots=True, kw_only=True)
class Feeds:
    """What the loop reads: batches to train on, the validation segment and, if asked for, train once more.

    ``bank``: what a network remembers of its losses, kept for those that are given them, see ``feeds.memory``.
    ``windows``: samples of the train segment, on all workers together.
    """

    train: TrainingFeed
    valid: EvaluationFeed
    train_again: EvaluationFeed | None = None
    bank: Bank | None = None
    windows: int = 0

    def remember(self, model: nn.Module) -> None:
        """Bring the bank up to the weights of ``model``, if there is one."""
        if self.bank is not None:
            self.bank.refresh(model)


def resident_feeds(
    config: Config,
    panel: Panel,
    world: World,
    device: torch.device,
    *,
    dates: bool = False,
    network: nn.Module | None = None,
) -> Feeds:
    """Make the loop's feeds over a panel in this process.

    ``dates``: the network takes whole dates. ``network`` itself is needed if it remembers its losses.
    """
    options = config.train
    train, valid = moved([panel.segments[TRAIN], panel.segments[VALID]], device)
    if dates:
        return _date_feeds(config, train, valid, world, device)
    size = options.eval_batch_size or options.batch_size
    bank = None
    if config.model.remembers:
        remembering: Any = network
        assert isinstance(remembering, Remembers)
        bank = Bank(remembering, panel, [train, valid], batch_size=size, world=world, device=device)
    memory = None if bank is None else bank.memory
    again = ResidentEvaluation(train, batch_size=size, world=world, device=device, memory=memory)
    return Feeds(
        train=ResidentFeed(
            train,
            batch_size=options.batch_size,
            seed=options.seed,
            world=world,
            device=device,
            drop_last=config.recipe == "qlib",
            memory=memory,
        ),
        valid=ResidentEvaluation(valid, batch_size=size, world=world, device=device, memory=memory),
        train_again=again if options.extra_train_pass else None,
        bank=bank,
        windows=len(train.samples),
    )


def _date_feeds(config: Config, train: Segment, valid: Segment, world: World, device: torch.device) -> Feeds:
    options = config.train
    cuts = qlib_cuts(config.recipe, config.data.feature_set.type)
    train_groups, valid_groups = (groups_of(segment, qlib_cuts=cuts) for segment in (train, valid))
    again = DateEvaluation(train, train_groups, world=world, device=device)
    return Feeds(
        train=DateFeed(
            train,
            train_groups,
            dates_per_batch=options.dates_per_batch or world.size,
            seed=options.seed,
            world=world,
            device=device,
        ),
        valid=DateEvaluation(valid, valid_groups, world=world, device=device),
        train_again=again if options.extra_train_pass else None,
        windows=len(train.samples),
    )


def moved(segments: Sequence[Segment], device: torch.device) -> list[Segment]:
    """Bring the sources of segments to a device, what they share only once."""
    move = Mover(device)
    sources = [source for segment in segments for source in (segment.source, segment.second) if source is not None]
    there = {id(source): source.to(move) for source in sources}
    return [
        replace(s, source=there[id(s.source)], second=None if s.second is None else there[id(s.second)])
        for s in segments
    ]
