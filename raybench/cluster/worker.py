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
from raybench.errors import TrainingError
from raybench.models.direct import FitsDirectly
from raybench.train.direct import feeding, fit_at_once
from raybench.train.loop import fit
from raybench.train.network import build_model, fresh_model
from raybench.train.state import TrainState, from_bytes, to_bytes
from raybench.train.world import ProcessGroup, World

STATE = "state.pt"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerTask:
    """All that a training worker is given; ``columns`` are the features after all processors."""

    config: Config
    columns: tuple[str, ...]
    rows: Resident | Streamed
    threads: int
    journal: Journal


def work(loop_config: dict[str, Any]) -> None:
    """Train as one rank of the group; the last checkpoint, if there is one, is gone on from."""
    task: WorkerTask = ray.get(loop_config["task"])
    torch.set_num_threads(task.threads)
    keep_memory()
    config = task.config
    device = get_device()
    world = ProcessGroup(device)
    state = last_state(ray.train.get_checkpoint())
    if state is not None and state.finished:
        _report(state, world, task.journal)
        return
    # the weights of a checkpoint take the place of those of a pretrained base, which may be gone by now
    make = fresh_model if state is None else build_model
    model = make(config, task.columns).to(device)
    try:
        _fit(model, task, world, device, state)
    except TrainingError as error:
        # All ranks stop at the same step. To raise would have Ray Train try the same thing again.
        if world.rank == 0:
            task.journal.add("fatal", str(error))


def _fit(
    model: torch.nn.Module, task: WorkerTask, world: World, device: torch.device, state: TrainState | None
) -> None:
    config = task.config
    progress = WorkerProgress(task.journal, speaks=world.rank == 0)

    def report(reached: TrainState) -> None:
        _report(reached, world, task.journal)

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
    """Read the state out of a checkpoint."""
    if checkpoint is None:
        return None
    with checkpoint.as_directory() as folder:
        return from_bytes((Path(folder) / STATE).read_bytes())


def _report(state: TrainState, world: World, journal: Journal) -> None:
    """Checkpoint the state (rank 0) and meet the other ranks at Ray Train's barrier."""
    record = state.history[-1]
    metrics = asdict(record)
    if world.rank != 0:
        ray.train.report(metrics)
        return
    journal.add("epoch", {**metrics, "last_epoch": state.last_epoch or state.epoch})
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / STATE).write_bytes(to_bytes(state))
        ray.train.report(metrics, checkpoint=Checkpoint.from_directory(folder))
