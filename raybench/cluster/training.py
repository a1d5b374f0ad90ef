"""One training on Ray Train: prepare the panel, share it, run the loop in every worker, keep the result.

The panel lies once per node in the object store and is read there without a copy by each worker. Ray Train
restarts workers that die from the last checkpoint; a driver that dies goes on with ``--resume``.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import ray
import ray.train
import torch
from ray.train import Checkpoint, CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer, get_device

from raybench import models
from raybench.cluster.journal import Journal, WorkerProgress
from raybench.cluster.preparation import prepare
from raybench.cluster.resources import Workers, capacity, plan_workers
from raybench.cluster.session import session
from raybench.config import Config, dump_config, with_absolute_paths
from raybench.data import storage
from raybench.data.panel import Panel, pack, unpack
from raybench.errors import ConfigError, RaybenchError, RunError, TrainingError
from raybench.progress import SILENT, Advance, Progress
from raybench.train import artifact
from raybench.train.batches import ResidentEvaluation, ResidentFeed
from raybench.train.loop import Feeds, fit
from raybench.train.events import write_events
from raybench.train.state import EpochRecord, TrainState, from_bytes, to_bytes
from raybench.train.world import ProcessGroup, World

CHECKPOINTS = "checkpoints"  # Ray Train's own folder inside the run directory
STATE = "state.pt"
GROUP_TIMEOUT_S = 600  # torch waits 30 minutes for a lost peer by default


def train(config: Config, *, out: str, resume: bool = False, progress: Progress = SILENT) -> artifact.Run:
    """Train ``config`` into the run directory ``out`` and return the finished run.

    A finished run with the same configuration is returned as it is; one that was begun goes on from its last
    checkpoint with ``resume``. RunError if ``out`` belongs to another configuration or is begun and
    ``resume`` is not given.
    """
    return _train_all({out: config}, resume=resume, progress=progress)[0]


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
    missing = {out: config for out, config in configs.items() if not claim(out, config, resume=resume)}
    if missing:
        with session(progress=progress):
            first = next(iter(missing.values()))
            streaming = first.data.residency == "streaming"
            workers = plan_workers(first.cluster, capacity(), streaming=streaming)
            panel = prepare(first, progress=progress)
            for out, config in missing.items():
                _train_one(config, panel, workers, out, progress)
    return [artifact.load_run(out) for out in configs]


def _train_one(config: Config, panel: Panel, workers: Workers, out: str, progress: Progress) -> None:
    began = time.time()
    artifact.begin_run(out, config)
    state = _fit_on_workers(config, panel, workers, out, progress)
    if config.train.tensorboard:
        write_events(storage.join(out, "tensorboard"), state.history)
    artifact.write_run(
        out,
        config=config,
        weights=state.best_weights,
        processors=panel.processors,
        history=state.history,
        best_epoch=state.best_epoch,
        facts={
            "data_fingerprint": panel.fingerprint,
            "model": config.model.type,
            "parameters": sum(value.numel() for value in state.best_weights.values()),
            "samples": panel.counts,
            "workers": asdict(workers),
            "seconds": round(time.time() - began, 3),
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


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerTask:
    """All that a training worker is given; arrays are references into the object store."""

    config: Config
    panel_spec: dict[str, Any]
    arrays: dict[str, ray.ObjectRef]
    threads: int
    journal: Journal


def _fit_on_workers(
    config: Config,
    panel: Panel,
    workers: Workers,
    out: str,
    progress: Progress,
) -> TrainState:
    spec, arrays = pack(panel)
    journal = Journal()
    task = WorkerTask(
        config=config,
        panel_spec=spec,
        arrays={name: ray.put(value) for name, value in arrays.items()},
        threads=workers.cpus,
        journal=journal,
    )
    location = storage.open_location(out)
    trainer = TorchTrainer(
        _work,
        train_loop_config={"task": task},
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
            failure_config=FailureConfig(max_failures=config.cluster.max_failures, controller_failure_limit=3),
        ),
    )
    with _Listener(progress, config.train.max_epochs) as listener, journal.listening(listener.hear):
        try:
            result = trainer.fit()
        except ray.train.TrainingFailedError as error:
            raise RaybenchError(
                f"training failed more than cluster.max_failures = {config.cluster.max_failures} times: {error}"
            ) from error
    if listener.fatal is not None:
        raise TrainingError(listener.fatal)
    assert result.checkpoint is not None, "a training that ended has reported"
    with result.checkpoint.as_directory() as folder:
        return from_bytes((Path(folder) / STATE).read_bytes())


class _Listener:
    """Turns the workers' events into one progress bar per epoch, which ends with what the epoch brought."""

    def __init__(self, progress: Progress, max_epochs: int) -> None:
        self._progress, self._max_epochs = progress, max_epochs
        self._bar: AbstractContextManager[Advance] | None = None
        self._advance: Advance | None = None
        self._stage, self._done, self._last_epoch = "", 0, 0
        self.fatal: str | None = None

    def __enter__(self) -> _Listener:
        return self

    def __exit__(self, *failure: object) -> None:
        self._close()

    def hear(self, kind: str, value: Any) -> None:
        """Take one event of :class:`Journal`."""
        if kind == "step":
            self._step(*value)
        elif kind == "epoch" and value.epoch > self._last_epoch:  # a restarted worker may say it again
            self._last_epoch = value.epoch
            if self._advance is not None:
                self._advance(0, text=epoch_line(value, self._max_epochs))
            self._close()
        elif kind == "fatal":
            self.fatal = value

    def _step(self, stage: str, total: int | None, done: int) -> None:
        if stage != self._stage or done < self._done:
            self._close()
            self._stage, self._done = stage, 0
            self._bar = self._progress.track(stage, total)
            self._advance = self._bar.__enter__()
        if self._advance is not None:
            self._advance(done - self._done)
            self._done = done

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.__exit__(None, None, None)
        self._bar = self._advance = None


def epoch_line(record: EpochRecord, max_epochs: int) -> str:
    """Say in a line what an epoch brought and how long the rest takes at most."""
    left = record.seconds * (max_epochs - record.epoch)
    return (
        f"{record.samples_per_second:,.0f} samples/s, train loss {record.train_loss:.5f}, "
        f"valid loss {record.valid_loss:.5f}, IC {record.valid_ic:.4f}, Rank IC {record.valid_rank_ic:.4f}, "
        f"at most {left / 60:.0f} min left"
    )


def _work(loop_config: dict[str, Any]) -> None:
    """What each Ray Train worker runs: the plain loop, with checkpoints and events going out."""
    task: WorkerTask = loop_config["task"]
    torch.set_num_threads(task.threads)
    config = task.config
    device = get_device()
    world = ProcessGroup(device)
    state = _last_state()
    if state is not None and state.finished:
        _report(state, world, task.journal)
        return
    panel = unpack(task.panel_spec, {name: ray.get(ref) for name, ref in task.arrays.items()})
    model = build_model(config, panel.columns).to(device)
    progress = WorkerProgress(task.journal, speaks=world.rank == 0)
    try:
        fit(
            model,
            resident_feeds(config, panel, world, device),
            config.train,
            recipe=config.recipe,
            world=world,
            state=state,
            on_epoch=lambda reached: _report(reached, world, task.journal),
            progress=progress,
        )
    except TrainingError as error:
        # All ranks stop at the same step. To raise would have Ray Train try the same thing again.
        if world.rank == 0:
            task.journal.add("fatal", str(error))


def build_model(config: Config, columns: Sequence[str]) -> torch.nn.Module:
    """Return the network of ``config``, seeded, in the precision it trains in."""
    torch.manual_seed(config.train.seed)
    model = models.build(
        config.model.model_dump(),
        feature_set={"type": config.data.feature_set.type, "columns": list(columns)},
        step_len=config.data.step_len,
        recipe=config.recipe,
    )
    if config.train.activation_checkpoint:
        if not hasattr(model, "checkpoint_chunks"):
            raise ConfigError(
                f"train.activation_checkpoint is not for network {config.model.type}; set it to false"
            )
        # Stretches of sqrt(W) steps: states between them and inside the one at hand take least memory together.
        model.checkpoint_chunks = math.isqrt(config.data.step_len - 1) + 1
    return model.double() if config.train.precision == "fp64" else model


def resident_feeds(config: Config, panel: Panel, world: World, device: torch.device) -> Feeds:
    """Return the loop's feeds over arrays that every worker holds."""
    options = config.train
    qlib = config.recipe == "qlib"
    train, valid = panel.segments["train"], panel.segments["valid"]
    size = options.eval_batch_size or options.batch_size
    again = ResidentEvaluation(train, batch_size=size, world=world, device=device)
    return Feeds(
        train=ResidentFeed(
            train, batch_size=options.batch_size, seed=options.seed, world=world, device=device, drop_last=qlib
        ),
        valid=ResidentEvaluation(valid, batch_size=size, world=world, device=device),
        train_again=again if options.extra_train_pass else None,
    )


def _last_state() -> TrainState | None:
    checkpoint = ray.train.get_checkpoint()
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
    journal.add("epoch", record)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / STATE).write_bytes(to_bytes(state))
        ray.train.report(metrics, checkpoint=Checkpoint.from_directory(folder))
