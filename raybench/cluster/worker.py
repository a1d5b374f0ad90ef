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

from raybench.cluster.allocator import keep_memory
from raybench.cluster.journal import POLL_SECONDS, Journal
from raybench.cluster.residency import Resident, Streamed
from raybench.config import Config
from raybench.progress import SILENT
from raybench.train import checkpoints
from raybench.train.checkpoints import Identity
from raybench.train.rank import fit_rank
from raybench.train.state import TrainState, epoch_event
from raybench.train.steps import StepEvents
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
    speaks = world.rank == 0
    fit_rank(
        config,
        task.columns,
        task.rows.feeds,
        world=world,
        device=device,
        state=state,
        on_epoch=lambda reached: _report(reached, world, task),
        progress=StepEvents(task.journal.add, every=POLL_SECONDS) if speaks else SILENT,
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
    task.journal.add("epoch", epoch_event(state))
    with tempfile.TemporaryDirectory() as folder:
        checkpoints.write(Path(folder), state, task.identity)
        ray.train.report(metrics, checkpoint=Checkpoint.from_directory(folder))
