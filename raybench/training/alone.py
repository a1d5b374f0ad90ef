"""One training in this process, without Ray: the loop on the panel at hand, a checkpoint after every epoch.

Checkpoints are those that Ray Train's workers write, so either goes on from what the other left. A process that dies
takes its training along: what it left is gone on from with ``--resume``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import nn

from raybench.config import Config
from raybench.errors import RaybenchError
from raybench.feeds.feeds import Feeds, resident_feeds
from raybench.feeds.world import SOLO, World
from raybench.panel import Panel
from raybench.training import checkpoints
from raybench.training.checkpoints import Beginning, Identity
from raybench.training.rank import MakesFeeds, fit_rank
from raybench.training.reporter import FunctionReporter
from raybench.training.state import EpochRecord, TrainState, epoch_event
from raybench.training.steps import StepEvents

STEP_SECONDS = 0.1  # between two steps that are told


class Gauges(Protocol):
    """What shows a training to the outside: it watches the loop wait for batches, and is told of every epoch."""

    def watching(self, make: MakesFeeds, /) -> MakesFeeds: ...

    def show(self, record: EpochRecord, /) -> None: ...


def fit_alone(
    config: Config,
    panel: Panel,
    out: str,
    *,
    threads: int,
    device: torch.device,
    identity: Identity,
    begun: Beginning,
    hear: Callable[[str, Any], None],
    gauges: Gauges | None = None,
) -> TrainState:
    """Train into ``out`` from where it had ``begun``, and return the finished state; ``hear`` takes the events."""
    state = None if begun.uri is None else checkpoints.read(begun.uri)
    if state is not None and state.finished:
        return state

    def feeds(
        config: Config, world: World, device: torch.device, *, dates: bool, network: nn.Module | None = None
    ) -> Feeds:
        return resident_feeds(config, panel, world, device, dates=dates, network=network)

    def report(reached: TrainState) -> None:
        checkpoints.publish(out, reached, identity)
        hear("epoch", epoch_event(reached))
        if gauges is not None:
            gauges.show(reached.history[-1])

    with _threads(threads):
        state = fit_rank(
            config,
            panel.columns,
            feeds if gauges is None else gauges.watching(feeds),
            world=SOLO,
            device=device,
            state=state,
            reporter=FunctionReporter(on_epoch=report),
            progress=StepEvents(hear, every=STEP_SECONDS),
        )
    if not state.finished:
        raise RaybenchError(f"{out}: the training ended after epoch {state.epoch} unfinished; go on with --resume")
    return state


@contextmanager
def _threads(number: int) -> Iterator[None]:
    """Compute with so many threads: sums of floats depend on it in their last digits."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
