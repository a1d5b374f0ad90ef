"""What every Ray Train worker runs: the plain loop on the shared panel, with checkpoints and events going out."""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import ray
import ray.train
import torch
from ray.train import Checkpoint
from ray.train.torch import get_device

from raybench import models
from raybench.cluster.allocator import keep_memory
from raybench.cluster.journal import Journal, WorkerProgress
from raybench.cluster.residency import Resident, Streamed
from raybench.config import Config
from raybench.models.direct import FitsDirectly
from raybench.train import checkpoints
from raybench.train.checkpoints import Identity
from raybench.train.direct import feeding, fit_at_once
from raybench.train.loop import fit
from raybench.train.network import build_model, fresh_model
from raybench.train.state import TrainState
from raybench.train.world import ProcessGroup, World


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerTask:
    """All that a training worker is given; ``columns`` are the features after all processors.

    ``identity`` goes into every checkpoint; ``begun`` is the one that an earlier command left, if it is gone on from.
    """

    config: Config
    columns: tuple[str, ...]
    rows: Resident | Streamed
    threads: int
    journal: Journal
    identity: Identity
    begun: str | None = None


def work(loop_config: dict[str, Any]) -> None:
    """Train as one rank of the group; the last checkpoint, if there is one, is gone on from.

    What it raises reaches the driver: a user error ends the training (``failures``), another has it tried again.
    """
    task: WorkerTask = ray.get(loop_config["task"])
    torch.set_num_threads(task.threads)
    keep_memory()
    config = task.config
    device = get_device()
    world = ProcessGroup(device)
    state = last_state(ray.train.get_checkpoint())
    if state is None and task.begun is not None:
        state = checkpoints.read(task.begun)
    if state is not None and state.finished:  # lost a worker after its last epoch
        _report(state, world, task)
        return
    # the weights of a checkpoint take the place of those of a pretrained base, which may be gone by now
    make = fresh_model if state is None else build_model
    _fit(make(config, task.columns).to(device), task, world, device, state)


def _fit(
    model: torch.nn.Module, task: WorkerTask, world: World, device: torch.device, state: TrainState | None
) -> None:
    config = task.config
    progress = WorkerProgress(task.journal, speaks=world.rank == 0)

    def report(reached: TrainState) -> None:
        _report(reached, world, task)

    if isinstance(model, FitsDirectly):
        feeds = task.rows.feeds(feeding(config), world, device, dates=False)
        fit_at_once(model, feeds, config.train, world=world, on_epoch=report, progress=progress)
        return
    fit(
        model,
        task.rows.feeds(config, world, device, dates=models.takes_dates(model), network=model),
        config.train,
        recipe=config.recipe,
        world=world,
        state=state,
        on_epoch=report,
        progress=progress,
    )


def last_state(checkpoint: Checkpoint | None) -> TrainState | None:
    """Read the state out of a checkpoint; RunError if it is damaged."""
    if checkpoint is None:
        return None
    with checkpoint.as_directory() as folder:
        return checkpoints.read(folder)


def _report(state: TrainState, world: World, task: WorkerTask) -> None:
    """Checkpoint the state (rank 0) and meet the other ranks at Ray Train's barrier."""
    record = state.history[-1]
    metrics = asdict(record)
    if world.rank != 0:
        ray.train.report(metrics)
        return
    task.journal.add("epoch", {**metrics, "last_epoch": state.last_epoch or state.epoch})
    with tempfile.TemporaryDirectory() as folder:
        checkpoints.write(Path(folder), state, task.identity)
        ray.train.report(metrics, checkpoint=Checkpoint.from_directory(folder))
