"""What every Ray Train worker runs: the plain loop on the shared panel, with checkpoints and events going out."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import ray
import ray.train
import torch
from ray.train import Checkpoint
from ray.train.torch import get_device

from raybench.allocator import keep_memory
from raybench.cluster.exported import TrainingGauges
from raybench.cluster.group import MEMBER, Member
from raybench.cluster.journal import POLL_SECONDS, Journal
from raybench.cluster.residency import ResidentRows, StreamedRows
from raybench.config import Config
from raybench.config.schema import Metric
from raybench.errors import DataError, RunError, UserError
from raybench.feeds.world import ProcessGroup, World
from raybench.progress import SILENT
from raybench.runs.artifact import CONFIG
from raybench.search.reported import state_metrics
from raybench.storage import files
from raybench.storage.claims import Ticket
from raybench.training import checkpoints
from raybench.training.checkpoints import Identity
from raybench.training.rank import fit_rank
from raybench.training.state import EpochRecord, TrainState, epoch_event
from raybench.training.steps import StepEvents


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerTask:
    """All that a training worker is given; ``columns`` are the features after all processors.

    ``run`` is its directory, ``claim`` says whether the driver has it still. ``identity`` goes into every
    checkpoint; ``begun`` is the one that an earlier command left, if it is gone on from. ``metric`` is what a search
    compares this training with others by, if it is a trial.
    """

    run: str
    config: Config
    columns: tuple[str, ...]
    rows: ResidentRows | StreamedRows
    threads: int
    journal: Journal
    identity: Identity
    claim: Ticket | None = None
    begun: str | None = None
    metric: Metric | None = None


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
    task.journal.add(MEMBER, Member.here(world.rank))
    state = last_state(ray.train.get_checkpoint())
    if state is None and task.begun is not None:
        state = checkpoints.read(task.begun)
    if state is not None and state.finished:  # lost a worker after its last epoch
        WorkerReporter(task, world).report(state)
        return
    speaks, gauges = world.rank == 0, TrainingGauges(task.run, world.rank)
    fit_rank(
        config,
        task.columns,
        gauges.watching(task.rows.feeds),
        world=world,
        device=device,
        state=state,
        reporter=WorkerReporter(task, world, gauges),
        progress=StepEvents(task.journal.add, every=POLL_SECONDS) if speaks else SILENT,
    )


def last_state(checkpoint: Checkpoint | None) -> TrainState | None:
    """Read the state out of a checkpoint; RunError if it is damaged."""
    if checkpoint is None:
        return None
    with checkpoint.as_directory() as folder:
        return checkpoints.read(folder)


class WorkerReporter:
    """What a worker of Ray Train tells: the state and its checkpoint to Ray Train, the epoch to people.

    What is raised in a worker comes out of ``fit`` in the driver, in place of the result (``cluster.failures``).
    """

    def __init__(self, task: WorkerTask, world: World, gauges: TrainingGauges | None = None) -> None:
        self._task, self._world, self._gauges = task, world, gauges

    def asked_to_stop(self, record: EpochRecord) -> bool:
        """Ray Train asks for nothing but the end of the training."""
        return False

    def report(self, state: TrainState) -> None:
        """Checkpoint the state (rank 0) and meet the other ranks at Ray Train's barrier.

        SupersededError where the run directory is somebody else's by now, and no checkpoint.
        """
        if self._gauges is not None:
            self._gauges.show(state.history[-1])
        metric = self._task.metric
        metrics = asdict(state.history[-1]) if metric is None else state_metrics(state, metric)
        if self._world.rank != 0:
            ray.train.report(metrics)
            return
        if self._task.claim is not None:
            self._task.claim.check()
        self._task.journal.add("epoch", epoch_event(state))
        name, storage = checkpoints.new_name(), ray.train.get_context().get_storage()
        place = Checkpoint(files.join(storage.experiment_fs_path, name), storage.storage_filesystem)
        ray.train.report(
            metrics,
            checkpoint=place,
            checkpoint_dir_name=name,
            checkpoint_upload_fn=lambda *_: self._put(state, place, name),
        )

    def _put(self, state: TrainState, place: Checkpoint, name: str) -> Checkpoint:
        """Publish a checkpoint where Ray Train expects it: right where it stays, its facts last, forced to disk."""
        run = self._task.run
        if not files.exists(files.join(run, CONFIG)):
            raise RunError(
                f"{run}: a node of the cluster does not see it (no {CONFIG} there); want --out on a disk that all "
                "nodes share, or on s3://"
            )
        try:
            checkpoints.put(run, name, state, self._task.identity)
        except DataError as error:
            if files.open_location(run).local:  # a disk that is full says so again
                raise
            raise ConnectionError(str(error)) from None  # a store that is away for a while: Ray Train tries again
        return place

    def fatal(self, cause: UserError) -> None:
        """It is raised, and so on its way."""
