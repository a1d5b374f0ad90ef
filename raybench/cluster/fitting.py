"""The workers of one training on Ray Train: started, watched, tried again when they die, and asked for the result."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Sequence
from dataclasses import replace

import ray
import ray.train
from ray.exceptions import ActorDiedError
from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig, TrainingFailedError, UserCallback
from ray.train.torch import TorchTrainer

from raybench.cluster.dashboard import of_this_cluster
from raybench.cluster.epochs import epoch_bars
from raybench.cluster.failures import as_told, cause_of, given_up
from raybench.cluster.group import Group
from raybench.cluster.journal import Journal
from raybench.cluster.preparation import TrainingData
from raybench.cluster.regroup import Regroups
from raybench.cluster.rendezvous import OneNodeConfig
from raybench.cluster.residency import WholeBlocks
from raybench.cluster.resources import Workers
from raybench.cluster.room import Wish, told_of_waiting
from raybench.cluster.session import capacity, in_a_thread, told_growth
from raybench.cluster.waits import node_seconds
from raybench.cluster.worker import WorkerTask, last_state, work
from raybench.config import Config
from raybench.config.schema import Metric
from raybench.errors import RaybenchError
from raybench.progress import Progress
from raybench.reports.text import numbered
from raybench.storage import files
from raybench.storage.claims import Ticket, ticket_of
from raybench.training import checkpoints
from raybench.training.checkpoints import Beginning, Identity
from raybench.training.state import TrainState

GROUP_TIMEOUT_S = 600  # torch waits 30 minutes for a lost peer by default
QUEUE_SECONDS = "86400"  # for others to give back what workers take: a queue; by default Ray Train gives up in minutes
_START_SECONDS = "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"
SETTLE_SECONDS = 2.0  # for workers to go after their controller, and for the journal to say what they told last


def fit_on_workers(
    config: Config,
    data: TrainingData,
    workers: Workers,
    out: str,
    *,
    identity: Identity,
    begun: Beginning,
    progress: Progress,
    name: str = "training",
    metric: Metric | None = None,
    claim: Ticket | None = None,
    callbacks: Sequence[UserCallback] = (),
) -> TrainState:
    """Train into ``out`` from where it had ``begun``, and return the finished state; ``name``: of its bar.

    ``claim``: by which workers know whose ``out`` is, where another process has claimed it than this one.
    ``metric``: what a search compares it by, which ``callbacks`` of Ray Train hear of after every epoch. A worker that
    dies is started again from the last checkpoint, and so is all of it where Ray Train's controller dies; both count
    against ``cluster.max_failures``. A user error of a worker comes out as it was raised.
    """
    if begun.uri is not None and begun.finished:
        return checkpoints.read(begun.uri)
    journal, group = Journal(), Group(workers.number, progress)
    task = WorkerTask(
        run=files.open_location(out).uri,
        config=config,
        columns=data.facts.processors.columns,
        rows=data.rows,
        threads=workers.cpus,
        journal=journal,
        identity=identity,
        claim=ticket_of(out) if claim is None else claim,
        begun=begun.uri,
        metric=metric,
    )
    progress.note(f"starting {workers.number} worker{'s' if workers.number > 1 else ''}")
    os.environ.setdefault(_START_SECONDS, QUEUE_SECONDS)
    with (
        epoch_bars(config, progress, name) as listener,
        journal.listening(group.hearing(listener.hear), progress),
        told_of_waiting(_wish(workers), group.here, progress),
    ):
        return _until_it_ends(config, data, workers, out, task, group, callbacks, progress)


def _until_it_ends(
    config: Config,
    data: TrainingData,
    workers: Workers,
    out: str,
    task: WorkerTask,
    group: Group,
    callbacks: Sequence[UserCallback],
    progress: Progress,
) -> TrainState:
    """Train, and go on where Ray Train's controller was lost, until there is a finished state."""
    while True:
        checkpoints.forget_index(out)
        trainer = _trainer(config, data, workers, out, task, callbacks, failures=group.failures)
        try:
            with of_this_cluster():
                result = in_a_thread(trainer.fit)  # where Ray Train leaves Ctrl-C to us
            break
        except TrainingFailedError as error:
            raise as_told(error, out=out, max_failures=config.cluster.max_failures) from error
        except ActorDiedError as error:
            begun = _after_the_controller(error, group, config, out, task.identity, progress)
        if begun.uri is not None and begun.finished:
            return _finished(out, checkpoints.read(begun.uri), {files.name_of(begun.uri)})
        task = replace(task, begun=begun.uri)
    state = last_state(result.checkpoint)
    if state is None or not state.finished:
        reached = 0 if state is None else state.epoch
        raise RaybenchError(f"{out}: the training ended after epoch {reached} unfinished; go on with --resume")
    tracked = result.best_checkpoints or []  # by Ray Train, which keeps KEPT of its own
    return _finished(out, state, {os.path.basename(checkpoint.path) for checkpoint, _ in tracked})


def _wish(workers: Workers) -> Wish:
    what = numbered(workers.number, "worker|workers takes|take")
    return Wish(what=what, cpus=workers.number * workers.cpus, gpus=workers.number * workers.gpu)


def _finished(out: str, state: TrainState, keep: Collection[str]) -> TrainState:
    checkpoints.prune(out, keep)
    return state


def _after_the_controller(
    error: ActorDiedError, group: Group, config: Config, out: str, identity: Identity, progress: Progress
) -> Beginning:
    """Where to go on after the process that leads the workers was lost, and they with it; RaybenchError if no more."""
    group.failures += 1
    if group.failures > config.cluster.max_failures:
        raise given_up(error, config.cluster.max_failures) from error
    time.sleep(SETTLE_SECONDS)
    group.give_room_back()
    checkpoints.forget_index(out)  # it may be cut short, and then none is of help
    begun = checkpoints.newest(out, identity)
    where = "begins again" if begun.epoch is None else f"goes on from epoch {begun.epoch}"
    progress.note(f"the process that leads the workers is lost: {cause_of(error)}; the training {where}")
    for note in begun.notes:
        progress.note(note)
    return begun


def _trainer(
    config: Config,
    data: TrainingData,
    workers: Workers,
    out: str,
    task: WorkerTask,
    callbacks: Sequence[UserCallback],
    *,
    failures: int,
) -> TorchTrainer:
    """``failures``: how often the training was lost already."""
    location = files.open_location(out)
    there = capacity()
    patience = node_seconds(several=len(there.nodes) > 1 or bool(there.could_be))
    return TorchTrainer(
        work,
        # By reference: Ray Train's controller unpacks what is here, and would load all of raybench with it.
        train_loop_config={"task": ray.put(task)},
        datasets=dict(data.datasets),
        # Ray Train unpacks this in a process of its own, which then loads all of raybench: only where it is needed.
        dataset_config=WholeBlocks() if data.datasets else None,
        torch_config=OneNodeConfig(timeout_s=GROUP_TIMEOUT_S),
        scaling_config=ScalingConfig(
            num_workers=workers.number,
            use_gpu=workers.gpu,
            resources_per_worker={"CPU": workers.cpus, **({"GPU": 1} if workers.gpu else {})},
        ),
        run_config=RunConfig(
            name=checkpoints.FOLDER,
            storage_path=location.path,
            storage_filesystem=location.fs,
            checkpoint_config=CheckpointConfig(num_to_keep=checkpoints.KEPT),
            failure_config=FailureConfig(
                max_failures=config.cluster.max_failures - failures,
                controller_failure_limit=3,  # type: ignore[call-arg]  # the stubs show the older class
            ),
            callbacks=[  # the stubs show the older class
                Regroups(task.journal, workers, growth=told_growth(), patience=patience),  # type: ignore[list-item]
                *callbacks,  # type: ignore[list-item]
            ],
        ),
    )
