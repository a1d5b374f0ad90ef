"""One training on Ray Train: prepare the panel, share it, run the loop in every worker, keep the result.

The panel lies once per node in the object store and is read there without a copy by each worker. Ray Train
restarts workers that die from the last checkpoint; a driver that dies goes on with ``--resume``.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Sequence
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
from raybench.progress import SILENT, Progress
from raybench.train import artifact
from raybench.train.batches import ResidentEvaluation, ResidentFeed
from raybench.train.loop import Feeds, fit
from raybench.train.state import EpochRecord, TrainState, from_bytes, to_bytes
from raybench.train.world import ProcessGroup, World

CHECKPOINTS = "checkpoints"  # Ray Train's own folder inside the run directory
STATE = "state.pt"
GROUP_TIMEOUT_S = 600  # torch waits 30 minutes for a lost peer by default


def train(
    config: Config,
    *,
    out: str,
    resume: bool = False,
    progress: Progress = SILENT,
    on_epoch: Callable[[EpochRecord], None] = lambda record: None,
) -> artifact.Run:
    """Train ``config`` into the run directory ``out`` and return the finished run.

    A finished run with the same configuration is returned as it is; one that was begun goes on from its last
    checkpoint with ``resume``. RunError if ``out`` belongs to another configuration or is begun and
    ``resume`` is not given.
    """
    config = with_absolute_paths(config)
    out = storage.open_location(out).uri
    if claim(out, config, resume=resume):
        return artifact.load_run(out)
    with session(progress=progress):
        began = time.time()
        workers = plan_workers(config.cluster, capacity(), streaming=config.data.residency == "streaming")
        panel = prepare(config, progress=progress)
        artifact.begin_run(out, config)
        state = _fit_on_workers(config, panel, workers, out, progress, on_epoch)
        return artifact.write_run(
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
    on_epoch: Callable[[EpochRecord], None],
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
    with _Listener(progress, on_epoch) as listener, journal.listening(listener.hear):
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
    """Turns the workers' events into the caller's progress bar and epoch callback."""

    def __init__(self, progress: Progress, on_epoch: Callable[[EpochRecord], None]) -> None:
        self._progress, self._on_epoch = progress, on_epoch
        self._bar: Any = None
        self._advance: Any = None
        self._stage, self._done, self._last_epoch = "", 0, 0
        self.fatal: str | None = None

    def __enter__(self) -> _Listener:
        return self

    def __exit__(self, *failure: object) -> None:
        self._close()

    def hear(self, kind: str, value: Any) -> None:
        if kind == "step":
            self._step(*value)
        elif kind == "epoch" and value.epoch > self._last_epoch:
            self._close()
            self._last_epoch = value.epoch
            self._on_epoch(value)
        elif kind == "note":
            self._progress.note(value)
        elif kind == "fatal":
            self.fatal = value

    def _step(self, stage: str, total: int | None, done: int) -> None:
        if stage != self._stage or done < self._done:
            self._close()
            self._stage, self._done = stage, 0
            self._bar = self._progress.track(stage, total)
            self._advance = self._bar.__enter__()
        if self._advance is not None and done > self._done:
            self._advance(done - self._done)
            self._done = done

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.__exit__(None, None, None)
        self._bar = self._advance = None


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
