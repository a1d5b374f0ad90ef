"""What one rank of a training does, in a worker of a group or in a process of its own: a network, fitted on feeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import nn

from raybench.config import Config
from raybench.config.fused import fused_on_cpu
from raybench.errors import UserError
from raybench.feeds.feeds import Feeds
from raybench.feeds.world import World
from raybench.models import takes_dates
from raybench.models.fused.choice import fused_layers
from raybench.models.interface.direct import FitsDirectly
from raybench.progress import Progress
from raybench.training.direct import feeding, fit_at_once
from raybench.training.loop import fit
from raybench.training.network import build_model, fresh_model
from raybench.training.reporter import Reporter
from raybench.training.state import TrainState


class MakesFeeds(Protocol):
    """Makes the loop's feeds, wherever the rows lie; ``network`` itself is needed if it remembers its losses."""

    def __call__(
        self, config: Config, world: World, device: torch.device, *, dates: bool, network: nn.Module | None = None
    ) -> Feeds: ...


def fit_rank(
    config: Config,
    columns: Sequence[str],
    feeds: MakesFeeds,
    *,
    world: World,
    device: torch.device,
    state: TrainState | None,
    reporter: Reporter,
    progress: Progress,
) -> TrainState:
    """Train the network of ``config`` on features ``columns``, from ``state`` on if there is one.

    A user error is told to the ``reporter`` as fatal before it is raised.
    """
    try:
        return _fit(config, columns, feeds, world, device, state, reporter, progress)
    except UserError as cause:
        reporter.fatal(cause)
        raise


def _fit(
    config: Config,
    columns: Sequence[str],
    feeds: MakesFeeds,
    world: World,
    device: torch.device,
    state: TrainState | None,
    reporter: Reporter,
    progress: Progress,
) -> TrainState:
    # the weights of a checkpoint take the place of those of a pretrained base, which may be gone by now
    make = fresh_model if state is None else build_model
    model = make(config, columns).to(device)
    if isinstance(model, FitsDirectly):
        made = feeds(feeding(config), world, device, dates=False)
        return fit_at_once(model, made, config.train, world=world, reporter=reporter, progress=progress)
    made = feeds(config, world, device, dates=takes_dates(model), network=model)
    with fused_layers(fused_on_cpu(config, made.windows) and device.type == "cpu"):
        return fit(
            model,
            made,
            config.train,
            recipe=config.recipe,
            world=world,
            state=state,
            reporter=reporter,
            progress=progress,
        )
