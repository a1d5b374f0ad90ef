"""One training on Ray Train: prepare the panel, share it, run the loop in every worker, keep the result.

The panel lies once per node in the object store and is read there without a copy by each worker. Ray Train
restarts workers that die from the last checkpoint; a driver that dies goes on with ``--resume``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime

import ray
import ray.train
from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer

from raybench.cluster.journal import EpochBars, Journal
from raybench.cluster.preparation import Prepared, open_data, prepare, residency
from raybench.cluster.residency import WholeBlocks
from raybench.cluster.resources import Workers, capacity, check_dates, plan_workers, suited
from raybench.cluster.session import in_a_thread, session
from raybench.cluster.worker import WorkerTask, last_state, work
from raybench.config import Config, dump_config, load_config, with_absolute_paths
from raybench.config.load import Source
from raybench.data import storage
from raybench.data.panel.build import chain_of
from raybench.errors import RaybenchError, RunError, TrainingError
from raybench.models import takes_dates
from raybench.progress import SILENT, Progress
from raybench.train import artifact, needs
from raybench.train.events import require_tensorboard, write_events
from raybench.train.network import fresh_model
from raybench.train.state import TrainState

CHECKPOINTS = "checkpoints"  # Ray Train's own folder inside the run directory
GROUP_TIMEOUT_S = 600  # torch waits 30 minutes for a lost peer by default


def train(config: Source, *, out: str, resume: bool = False, progress: Progress = SILENT) -> artifact.Run:
    """Train ``config`` (a path, a mapping or a Config) into the run directory ``out`` and return the finished run.

    A finished run with the same configuration is returned as it is; one that was begun goes on from its last
    checkpoint with ``resume``. RunError if ``out`` belongs to another configuration or is begun and
    ``resume`` is not given.
    """
    return _train_all({out: load_config(config)}, resume=resume, progress=progress)[0]


def train_seeds(
    config: Config, seeds: Sequence[int], *, out: str, resume: bool = False, progress: Progress = SILENT
) -> list[artifact.Run]:
    """Train ``config`` once for each seed, into ``out``/seed-N, over one panel; otherwise like :func:`train`."""
    configs = {
        storage.join(out, f"seed-{seed}"): config.model_copy(
            update={"train": config.train.model_copy(update={"seed": seed})}
        )
        for seed in seeds
    }
    return _train_all(configs, resume=resume, progress=progress)


def _train_all(configs: Mapping[str, Config], *, resume: bool, progress: Progress) -> list[artifact.Run]:
    """Train configurations that differ in their seed only; finished ones are taken as they are."""
    configs = {storage.open_location(out).uri: with_absolute_paths(config) for out, config in configs.items()}
    for config in configs.values():
        require_tensorboard(wanted=config.train.tensorboard)
    missing = {out: config for out, config in configs.items() if not claim(out, config, resume=resume)}
    if missing:
        with session(progress=progress):
            first = next(iter(missing.values()))
            bars, features = open_data(first)
            # what the network refuses is told here, once, before any work, and not by each worker
            dates = takes_dates(fresh_model(first, chain_of(first, features, None).columns))
            kind = residency(first, bars, features, dates=dates)
            workers = plan_workers(suited(first), capacity(), streaming=kind == "streaming")
            if dates:
                check_dates(first, workers)
            data = prepare(first, bars, features, kind, progress=progress)
            for out, config in missing.items():
                _train_one(config, data, workers, out, progress)
    return [_trained(out) for out in configs]


def _trained(out: str) -> artifact.Run:
    run = artifact.load_run(out, trust=True)  # its configuration is the one that was given
    if "adopted_from" in run.manifest:
        raise RunError(f"{out} holds weights that were adopted, not trained here; choose another --out")
    return run


def _train_one(config: Config, data: Prepared, workers: Workers, out: str, progress: Progress) -> None:
    began = datetime.now(UTC)
    artifact.begin_run(out, config)
    state = _fit_on_workers(config, data, workers, out, progress)
    if config.train.tensorboard:
        write_events(storage.join(out, "tensorboard"), state.history)
    artifact.write_run(
        out,
        config=config,
        weights=state.best_weights,
        processors=data.processors,
        second_processors=data.second_processors,
        memory=state.best_memory,
        history=state.history,
        best_epoch=state.best_epoch,
        began=began,
        facts={
            "data_fingerprint": data.fingerprint,
            needs.KEY: data.needs.to_manifest(),
            "model": config.model.type,
            "parameters": sum(value.numel() for value in state.best_weights.values() if value.is_floating_point()),
            "samples": dict(data.counts),
            "workers": asdict(workers),
        },
    )


def claim(out: str, config: Config, *, resume: bool) -> bool:
    """Check that ``out`` may be written by a training of ``config``; True if it already holds its result."""
    stored = artifact.stored_config(out)
    if stored is None:
        return False
    if dump_config(stored) != dump_config(config):
        raise RunError(f"{out} holds a run of another configuration; choose another --out or remove it")
    if artifact.is_finished(out):
        return True
    if not resume:
        raise RunError(f"{out} holds an unfinished run of this configuration; add --resume or choose another --out")
    return False


def _fit_on_workers(config: Config, data: Prepared, workers: Workers, out: str, progress: Progress) -> TrainState:
    journal = Journal()
    task = WorkerTask(
        config=config,
        columns=data.processors.columns,
        rows=data.rows,
        threads=workers.cpus,
        journal=journal,
    )
    location = storage.open_location(out)
    trainer = TorchTrainer(
        work,
        # By reference: Ray Train's controller unpacks what is here, and would load all of raybench with it.
        train_loop_config={"task": ray.put(task)},
        datasets=dict(data.datasets),
        # Ray Train unpacks this in a process of its own, which then loads all of raybench: only where it is needed.
        dataset_config=WholeBlocks() if data.datasets else None,
        torch_config=TorchConfig(timeout_s=GROUP_TIMEOUT_S),
        scaling_config=ScalingConfig(
            num_workers=workers.number,
            use_gpu=workers.gpu,
            resources_per_worker={"CPU": workers.cpus, **({"GPU": 1} if workers.gpu else {})},
        ),
        run_config=RunConfig(
            name=CHECKPOINTS,
            storage_path=location.path,
            storage_filesystem=location.fs,
            checkpoint_config=CheckpointConfig(num_to_keep=2),
            failure_config=FailureConfig(
                max_failures=config.cluster.max_failures,
                controller_failure_limit=3,  # type: ignore[call-arg]  # the stubs show the older class
            ),
        ),
    )
    epochs = 1 if config.model.fitting == "direct" else config.train.max_epochs
    with EpochBars(progress, epochs) as listener, journal.listening(listener.hear):
        try:
            result = in_a_thread(trainer.fit)  # where Ray Train leaves Ctrl-C to us
        except ray.train.TrainingFailedError as error:
            raise RaybenchError(
                f"training failed more than cluster.max_failures = {config.cluster.max_failures} times: {error}"
            ) from error
    if listener.fatal is not None:
        raise TrainingError(listener.fatal)
    state = last_state(result.checkpoint)
    assert state is not None, "a training that ended has reported"
    return state
