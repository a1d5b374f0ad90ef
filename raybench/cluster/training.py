"""One training on Ray Train: prepare the panel, share it, run the loop in every worker, keep the result.

The panel lies once per node in the object store and is read there without a copy by each worker. Ray Train
restarts workers that die from the last checkpoint; a driver that dies goes on with ``--resume``.

A run directory is claimed (``data.claims``) before anything is read or started, and what it holds is compared with
what is asked for: its configuration (``config.identity``) and, by every checkpoint and by a finished run, its data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime

from raybench.cluster.beforehand import check_workers, fingerprint_now, open_sources
from raybench.cluster.fitting import fit_on_workers
from raybench.cluster.preparation import Prepared, prepare, residency
from raybench.cluster.resources import Workers, capacity, check_dates, plan_workers, suited
from raybench.cluster.session import session
from raybench.config import Config, load_config, with_absolute_paths
from raybench.config.identity import data_places, differences, learned
from raybench.config.load import Source
from raybench.data import storage
from raybench.data.claims import held
from raybench.data.places import Kind, refuse_others
from raybench.errors import DataError, RunError
from raybench.progress import SILENT, Progress
from raybench.train import artifact, checkpoints, needs
from raybench.train.checkpoints import Begun, Identity
from raybench.train.events import require_tensorboard, write_events


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
    for out, config in configs.items():
        refuse_others(out, Kind.RUN, option="--out", files=True)
        require_tensorboard(wanted=config.train.tensorboard)
    with ExitStack() as claims:
        missing: dict[str, Config] = {}
        for out, config in configs.items():
            if not claim(out, config, resume=resume):
                claims.enter_context(held(out, what="train"))
                if not claim(out, config, resume=resume):  # its owner may have finished it in between
                    missing[out] = config
        if missing:
            _train_missing(missing, resume=resume, progress=progress)
    runs = [_trained(out) for out in configs]
    for run in runs:
        if run.uri not in missing:
            compare_data(run, configs[run.uri], progress)
    return runs


def _train_missing(configs: Mapping[str, Config], *, resume: bool, progress: Progress) -> None:
    first = next(iter(configs.values()))
    sources = open_sources(first)
    begun = {
        out: _begun(out, Identity.of(config, sources.fingerprint), resume=resume) for out, config in configs.items()
    }
    check_workers(first, dates=sources.dates, progress=progress)
    with session(progress=progress):
        kind = residency(first, sources.bars, sources.features, dates=sources.dates)
        workers = plan_workers(suited(first), capacity(), streaming=kind == "streaming")
        if sources.dates:
            check_dates(first, workers)
        data = prepare(first, sources.bars, sources.features, kind, progress=progress)
        if data.fingerprint != sources.fingerprint:
            raise DataError("the data changed while they were read; run the same command again")
        for out, config in configs.items():
            identity = Identity.of(config, data.fingerprint, workers=workers.number, rows=kind)
            _train_one(config, data, workers, out, identity, begun[out], progress)


def _begun(out: str, identity: Identity, *, resume: bool) -> Begun:
    """Refuse checkpoints that are of something else, or that nobody asked to go on from.

    They are refused and not deleted: they may be days of somebody's work.
    """
    begun = checkpoints.newest(out, identity)
    if begun.uri is not None and not resume:
        raise RunError(
            f"{out} holds {begun.epoch} epochs of an unfinished training of this configuration; add --resume, "
            f"remove the folder {checkpoints.FOLDER}, or choose another --out"
        )
    return begun


def _trained(out: str) -> artifact.Run:
    run = artifact.load_run(out, trust=True)  # its configuration is the one that was given
    if "adopted_from" in run.manifest:
        raise RunError(f"{out} holds weights that were adopted, not trained here; choose another --out")
    return run


def _train_one(
    config: Config,
    data: Prepared,
    workers: Workers,
    out: str,
    identity: Identity,
    begun: Begun,
    progress: Progress,
) -> None:
    began = datetime.now(UTC)
    for note in begun.notes_for(identity):
        progress.note(f"{out}: {note}")
    artifact.begin_run(out, config)
    state = fit_on_workers(config, data, workers, out, identity=identity, begun=begun, progress=progress)
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
            "warnings": list(data.warnings),
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
    different = differences(learned(stored), learned(config))
    if different:
        raise RunError(f"{out} holds a run of another configuration ({different}); choose another --out or remove it")
    if artifact.is_finished(out):
        return True
    if not resume:
        raise RunError(f"{out} holds an unfinished run of this configuration; add --resume or choose another --out")
    return False


def kept(out: str) -> str:
    """Say what an interrupted training left at ``out`` and how to go on."""
    epochs = checkpoints.finished_epochs(out)
    if epochs:
        return (
            f"{epochs} epoch{'s are' if epochs > 1 else ' is'} kept in {out}; go on with the same command and --resume"
        )
    if storage.exists(storage.join(out, artifact.CONFIG)):
        return f"no epoch of {out} was finished; begin again with the same command and --resume"
    return f"nothing was written to {out}; begin again with the same command"


def compare_data(run: artifact.Run, config: Config, progress: Progress) -> None:
    """Compare the data of a finished run with those that ``config`` names now.

    Others at another place are another run's: RunError. Those of the run that changed since are told of.
    """
    moved = data_places(run.config) != data_places(config)
    try:
        now = fingerprint_now(config)
    except DataError:
        if moved:
            raise
        return  # they went: the run stays what it is
    before = str(run.manifest["data_fingerprint"])
    if now == before:
        return
    told = f"{run.uri} was trained on other data (fingerprint {before[:12]}, now {now[:12]})"
    if moved:
        raise RunError(f"{told}; choose another --out or remove it")
    progress.note(f"{told}: it stays as it is; train into another --out to use the data as they are now")
