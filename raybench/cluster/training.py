"""One training: prepare the panel, run the loop on it, keep the result.

One worker is this process, which does not even load Ray. More of them, and those of a cluster, are Ray Train's: the
panel then lies once per node in the object store and is read there without a copy by each, and workers that die are
started again from the last checkpoint. A process or driver that dies goes on with ``--resume``.

A run directory is claimed (``data.claims``) before anything is read or started, and what it holds is compared with
what is asked for: its configuration (``config.identity``) and, by every checkpoint and by a finished run, its data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial

import torch

from raybench.cluster import choice
from raybench.cluster.allocator import give_back_memory, keep_memory
from raybench.cluster.epochs import epoch_bars, names
from raybench.cluster.resources import Workers, check_dates, plan_workers, suited, this_machine
from raybench.config import Config, load_config, with_absolute_paths
from raybench.config.identity import data_places, differences, learned
from raybench.config.load import Source
from raybench.config.size import count_parameters
from raybench.data import storage
from raybench.data.claims import held
from raybench.data.panel.build import build_panel
from raybench.data.panel.size import panel_bytes
from raybench.data.places import Kind, refuse_others
from raybench.errors import ConfigError, DataError, RunError
from raybench.progress import SILENT, Progress
from raybench.train import artifact, checkpoints, needs
from raybench.train.alone import fit_alone
from raybench.train.checkpoints import Begun, Identity
from raybench.train.events import require_tensorboard, write_events
from raybench.train.folders import finished_seeds
from raybench.train.seeds import write_seeds
from raybench.train.sources import IN_PROCESS_BYTES, DataFacts, Sources, fingerprint_now, open_sources
from raybench.train.state import TrainState


def train(
    config: Source, *, out: str, resume: bool = False, local: bool | None = None, progress: Progress = SILENT
) -> artifact.Run:
    """Train ``config`` (a path, a mapping or a Config) into the run directory ``out`` and return the finished run.

    A finished run with the same configuration is returned as it is; one that was begun goes on from its last
    checkpoint with ``resume``. RunError if ``out`` belongs to another configuration or is begun and
    ``resume`` is not given. ``local``: in this process (True) or on Ray (False), to the same result; by default one
    worker on little data is this process, unless RAY_ADDRESS names a cluster or one runs on this machine.
    """
    return _train_all({out: load_config(config)}, resume=resume, local=local, progress=progress)[0]


def train_seeds(
    config: Config,
    seeds: Sequence[int],
    *,
    out: str,
    resume: bool = False,
    local: bool | None = None,
    progress: Progress = SILENT,
) -> list[artifact.Run]:
    """Train ``config`` once for each seed, into ``out``/seed-N, over one panel; otherwise like :func:`train`.

    Seeds that ``out`` already has are kept; ``out``/seeds.parquet tells what all of them came to (``train.seeds``).
    """
    configs = {
        storage.join(out, f"seed-{seed}"): config.model_copy(
            update={"train": config.train.model_copy(update={"seed": seed})}
        )
        for seed in seeds
    }
    runs = _train_all(configs, resume=resume, local=local, progress=progress)
    others = [folder for folder in finished_seeds(out) if folder not in {run.uri for run in runs}]
    write_seeds(out, [*runs, *(artifact.load_run(folder, trust=True) for folder in others)])
    return runs


def _train_all(
    configs: Mapping[str, Config], *, resume: bool, local: bool | None, progress: Progress
) -> list[artifact.Run]:
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
            _train_missing(missing, resume=resume, local=local, progress=progress)
    runs = [_trained(out) for out in configs]
    for run in runs:
        if run.uri not in missing:
            compare_data(run, configs[run.uri], progress)
    return runs


def _train_missing(configs: Mapping[str, Config], *, resume: bool, local: bool | None, progress: Progress) -> None:
    first = next(iter(configs.values()))
    sources = open_sources(first)
    begun = {
        out: _begun(out, Identity.of(config, sources.fingerprint), resume=resume) for out, config in configs.items()
    }
    alone = _alone(first, sources, local)
    if alone is None:
        _train_on_ray(configs, sources, begun, progress)
    else:
        _train_here(configs, sources, begun, alone, progress)


def _alone(first: Config, sources: Sources, local: bool | None) -> Workers | None:
    """Return the one worker that this process is, None where Ray's are wanted.

    Without ``local`` Ray is left out where its processes would do no more than this one: one worker is wanted, no
    cluster is named, joined or running on this machine, and one process can prepare the rows in a few seconds.
    """
    wanted, gpus = suited(first), torch.cuda.device_count()
    one = wanted.num_workers == 1 or (wanted.num_workers is None and (gpus <= 1 or wanted.use_gpu is False))
    if local is False or (local is None and not (one and _little(first, sources) and not choice.asked_for())):
        return None
    if local is None and choice.runs_here():
        return None
    if wanted.num_workers not in (None, 1):
        raise ConfigError(
            f"--local trains in one process, and cluster.num_workers is {wanted.num_workers}; set it to 1"
        )
    if first.data.residency == "streaming":
        raise ConfigError("--local trains on resident rows, and data.residency is streaming; set it to resident")
    wanted = wanted.model_copy(update={"num_workers": 1})
    return plan_workers(wanted, this_machine(gpus=gpus), streaming=False)


def _little(config: Config, sources: Sources) -> bool:
    if config.data.residency == "streaming":
        return False
    return panel_bytes(config, sources.bars, sources.features) <= IN_PROCESS_BYTES


def _train_here(
    configs: Mapping[str, Config], sources: Sources, begun: Mapping[str, Begun], alone: Workers, progress: Progress
) -> None:
    first = next(iter(configs.values()))
    if sources.dates:
        check_dates(first, alone)
    panel = build_panel(first, sources.bars, sources.features, progress=progress)
    facts = DataFacts.of(panel, first, sources.bars, sources.features)
    _look_at(facts, sources, progress)
    device = torch.device("cuda" if alone.gpu else "cpu")
    keep_memory()
    for (out, config), name in zip(configs.items(), names(list(configs.values())), strict=True):
        identity = Identity.of(config, facts.fingerprint, workers=1, rows="resident")
        with epoch_bars(config, progress, name) as listener:
            fit = partial(
                fit_alone,
                config,
                panel,
                out,
                threads=alone.cpus,
                device=device,
                identity=identity,
                begun=begun[out],
                hear=listener.hear,
            )
            _train_one(config, facts, alone, out, begun[out].notes_for(identity), fit, progress)
    del panel
    give_back_memory()


def _train_on_ray(
    configs: Mapping[str, Config], sources: Sources, begun: Mapping[str, Begun], progress: Progress
) -> None:
    from raybench.cluster.beforehand import check_workers
    from raybench.cluster.fitting import fit_on_workers
    from raybench.cluster.preparation import prepare, residency
    from raybench.cluster.session import capacity, session

    first = next(iter(configs.values()))
    check_workers(first, dates=sources.dates, progress=progress)
    with session(progress=progress):
        kind = residency(first, sources.bars, sources.features, dates=sources.dates)
        workers = plan_workers(suited(first), capacity(), streaming=kind == "streaming")
        if sources.dates:
            check_dates(first, workers)
        data = prepare(first, sources.bars, sources.features, kind, progress=progress)
        _look_at(data.facts, sources, progress)
        for (out, config), name in zip(configs.items(), names(list(configs.values())), strict=True):
            identity = Identity.of(config, data.facts.fingerprint, workers=workers.number, rows=kind)
            fit = partial(
                fit_on_workers,
                config,
                data,
                workers,
                out,
                identity=identity,
                begun=begun[out],
                progress=progress,
                name=name,
            )
            _train_one(config, data.facts, workers, out, begun[out].notes_for(identity), fit, progress)


def _look_at(facts: DataFacts, sources: Sources, progress: Progress) -> None:
    """Refuse data that are no longer those that were opened; say what is odd before hours are spent on it."""
    if facts.fingerprint != sources.fingerprint:
        raise DataError("the data changed while they were read; run the same command again")
    for line in facts.warnings:
        progress.note(f"look: {line}")


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
    data: DataFacts,
    workers: Workers,
    out: str,
    notes: Sequence[str],
    fit: Callable[[], TrainState],
    progress: Progress,
) -> None:
    """Claim ``out``, ``fit``, and publish the run; ``notes`` are said beforehand."""
    began = datetime.now(UTC)
    for note in notes:
        progress.note(f"{out}: {note}")
    artifact.begin_run(out, config)
    state = fit()
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
            "parameters": count_parameters(config, len(data.processors.columns), state.best_weights),
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
