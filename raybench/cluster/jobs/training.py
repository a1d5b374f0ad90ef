"""One training: prepare the panel, run the loop on it, keep the result.

One worker is this process, which does not even load Ray. More of them, and those of a cluster, are Ray Train's: the
panel then lies once per node in the object store and is read there without a copy by each, and workers that die are
started again from the last checkpoint. A process or driver that dies goes on with ``--resume``.

A run directory is claimed (``storage.claims``) before anything is read or started, and what it holds is compared with
what is asked for: its configuration (``config.identity``) and, by every checkpoint and by a finished run, its data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import torch

from raybench.allocator import give_back_memory, keep_memory
from raybench.cluster import choice, ran_on
from raybench.cluster.epochs import epoch_bars, names
from raybench.cluster.jobs.ownership import Say, claim, compare_data
from raybench.cluster.resources import Workers, check_dates, plan_training, plan_workers, suited, this_machine
from raybench.config import Config, load_config, with_absolute_paths
from raybench.config.fused import layers_run
from raybench.config.identity import data_places
from raybench.config.load import Source
from raybench.config.panel_spec import PanelSpec
from raybench.config.seeds import SEEDLESS
from raybench.config.size import count_parameters
from raybench.errors import ConfigError, DataError, RunError
from raybench.panel.build import build_panel
from raybench.panel.size import panel_bytes
from raybench.progress import SILENT, Progress
from raybench.reports.text import numbered
from raybench.runs import artifact
from raybench.runs.events import require_tensorboard, write_events
from raybench.runs.folders import finished_seeds
from raybench.runs.seeds import write_seeds
from raybench.storage import files
from raybench.storage.claims import held
from raybench.storage.places import Kind, refuse_others
from raybench.training import checkpoints, needs
from raybench.training.alone import fit_alone
from raybench.training.checkpoints import Beginning, Identity
from raybench.training.sources import IN_PROCESS_BYTES, DataFacts, Sources, open_sources, wants_dates
from raybench.training.state import TrainState


def train(
    config: Source,
    *,
    out: str,
    resume: bool = False,
    local: bool | None = None,
    progress: Progress = SILENT,
    warn: Say | None = None,
) -> artifact.StoredRun:
    """Train ``config`` (a path, a mapping or a Config) into the run directory ``out`` and return the finished run.

    A finished run with the same configuration is returned as it is; one that was begun goes on from its last
    checkpoint with ``resume``. RunError if ``out`` belongs to another configuration or is begun and
    ``resume`` is not given. ``local``: in this process (True) or on Ray (False), to the same result; by default one
    worker on little data is this process, unless RAY_ADDRESS names a cluster or one runs on this machine. ``warn`` is
    told what is probably not meant, such as data that changed since; by default it is a note of the progress.
    """
    return train_all({out: load_config(config)}, resume=resume, local=local, progress=progress, warn=warn)[0]


def train_seeds(
    config: Config,
    seeds: Sequence[int],
    *,
    out: str,
    resume: bool = False,
    local: bool | None = None,
    progress: Progress = SILENT,
    warn: Say | None = None,
) -> list[artifact.StoredRun]:
    """Train ``config`` once for each seed, into ``out``/seed-N, over one panel; otherwise like :func:`train`.

    Seeds that ``out`` already has are kept; ``out``/seeds.parquet tells what all of them came to (``runs.seeds``).
    """
    refuse_others(out, Kind.RUNS, option="--out", files=True)
    if len(seeds) > 1 and config.model.type in SEEDLESS and warn is not None:
        warn(f"model.type {config.model.type} does not depend on train.seed: all {len(seeds)} runs are the same")
    configs = {
        files.join(out, f"seed-{seed}"): config.model_copy(
            update={"train": config.train.model_copy(update={"seed": seed})}
        )
        for seed in seeds
    }
    runs = train_all(configs, resume=resume, local=local, progress=progress, warn=warn)
    others = [folder for folder in finished_seeds(out) if folder not in {run.uri for run in runs}]
    write_seeds(out, [*runs, *(artifact.load_run(folder, trust=True) for folder in others)])
    return runs


def train_all(
    configs: Mapping[str, Config],
    *,
    resume: bool = False,
    local: bool | None = None,
    progress: Progress = SILENT,
    warn: Say | None = None,
) -> list[artifact.StoredRun]:
    """Train configurations into the run directories that they stand for here; finished ones are taken as they are.

    Those whose panels agree (``PanelSpec``) share one, whatever their networks, seeds and learning rates are.
    """
    configs = {files.open_location(out).uri: with_absolute_paths(config) for out, config in configs.items()}
    for out, config in configs.items():
        refuse_others(out, Kind.RUN, option="--out", files=True)
        require_tensorboard(wanted=config.train.tensorboard)
    with ExitStack() as claims:
        missing: dict[str, Config] = {}
        for out, config in configs.items():
            if not artifact.is_finished(out):
                claims.enter_context(held(out, what="train", say=progress.note))
            if not claim(out, config, resume=resume):  # its owner may have finished it in between
                missing[out] = config
        if missing:
            _train_missing(missing, resume=resume, local=local, progress=progress, warn=warn or progress.note)
    runs = [_trained(out) for out in configs]
    for run in runs:
        if run.uri not in missing:
            compare_data(run, configs[run.uri], warn or progress.note)
    return runs


def _train_missing(
    configs: Mapping[str, Config], *, resume: bool, local: bool | None, progress: Progress, warn: Say
) -> None:
    for group in _sharing(configs):
        begun = {
            out: _begun(out, Identity.of(config, group.sources.fingerprint), resume=resume)
            for out, config in group.configs.items()
        }
        alone = _alone(group, local)
        if alone is None:
            _train_on_ray(group, begun, progress, warn)
        else:
            _train_here(group, begun, alone, progress, warn)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sharing:
    """Trainings that read one panel, by their run directories; ``dates``: a network among them takes whole dates.

    They may differ in network, seed, learning rate and batches; their part ``cluster`` is that of the first.
    """

    configs: Mapping[str, Config]
    sources: Sources
    dates: bool

    @property
    def first(self) -> Config:
        return next(iter(self.configs.values()))


def _sharing(configs: Mapping[str, Config]) -> list[_Sharing]:
    """Open the data of all, and put together those whose specs agree: what they share is prepared once."""
    opened: dict[tuple[str, str], Sources] = {}
    groups: dict[tuple[str, str], dict[str, Config]] = {}
    for out, config in configs.items():
        sources = open_sources(PanelSpec.of(config))
        key = (sources.fingerprint, config.data.residency)
        opened.setdefault(key, sources)
        groups.setdefault(key, {})[out] = config
    return [
        _Sharing(
            configs=group,
            sources=opened[key],
            dates=True in [wants_dates(config, opened[key]) for config in group.values()],  # each may refuse
        )
        for key, group in groups.items()
    ]


def _alone(group: _Sharing, local: bool | None) -> Workers | None:
    """Return the one worker that this process is, None where Ray's are wanted.

    Without ``local`` Ray is left out where its processes would do no more than this one: one worker is wanted, no
    cluster is named, joined or running on this machine, and one process can prepare the rows in a few seconds.
    """
    first = group.first
    wanted, gpus = suited(first), torch.cuda.device_count()
    one = wanted.num_workers == 1 or (wanted.num_workers is None and (gpus <= 1 or wanted.use_gpu is False))
    if local is False or (local is None and not (one and _little(group.sources) and not choice.asked_for())):
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


def _little(sources: Sources) -> bool:
    if sources.spec.data.residency == "streaming":
        return False
    return panel_bytes(sources.spec, sources.bars, sources.features) <= IN_PROCESS_BYTES


def _train_here(group: _Sharing, begun: Mapping[str, Beginning], alone: Workers, progress: Progress, warn: Say) -> None:
    sources, configs = group.sources, group.configs
    if group.dates:
        check_dates(group.first, alone)
    ran_on.here(progress)
    panel = build_panel(sources.spec, sources.bars, sources.features, progress=progress)
    facts = DataFacts.of(panel, sources)
    look_at(facts, sources, warn)
    device = torch.device("cuda" if alone.gpu else "cpu")
    keep_memory()
    for (out, config), name in zip(configs.items(), names(list(configs.values())), strict=True):
        layout = _layout(config, alone, "resident", dates=group.dates)
        identity = Identity.of(config, facts.fingerprint, **layout)
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
            _train_one(config, facts, alone, out, begun[out].notes_for(identity), fit, progress, layout)
    del panel
    give_back_memory()


def _train_on_ray(group: _Sharing, begun: Mapping[str, Beginning], progress: Progress, warn: Say) -> None:
    from raybench.cluster.beforehand import check_workers
    from raybench.cluster.fitting import fit_on_workers
    from raybench.cluster.preparation import prepare, residency
    from raybench.cluster.session import capacity, session

    first, sources, configs = group.first, group.sources, group.configs
    check_workers(first, dates=group.dates, progress=progress)
    places = {"--out": next(iter(configs)), **data_places(first)}
    with session(places=places, progress=progress):
        kinds = {residency(config, sources, dates=group.dates) for config in configs.values()}
        kind = "resident" if "resident" in kinds else "streaming"
        workers = plan_training(first, capacity(), streaming=kind == "streaming", dates=group.dates)
        data = prepare(sources, kind, progress=progress)
        look_at(data.facts, sources, warn)
        for (out, config), name in zip(configs.items(), names(list(configs.values())), strict=True):
            layout = _layout(config, workers, kind, dates=group.dates)
            identity = Identity.of(config, data.facts.fingerprint, **layout)
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
            _train_one(config, data.facts, workers, out, begun[out].notes_for(identity), fit, progress, layout)


def _layout(config: Config, workers: Workers, rows: str, *, dates: bool) -> dict[str, Any]:
    """What may change when a training goes on (``training.checkpoints``); whole ``dates`` may follow the workers."""
    follows = dates and config.train.dates_per_batch is None
    return {"workers": workers.number, "rows": rows, **({checkpoints.DATES: workers.number} if follows else {})}


def look_at(facts: DataFacts, sources: Sources, warn: Say) -> None:
    """Refuse data that are no longer those that were opened; say what is odd before hours are spent on it."""
    if facts.fingerprint != sources.fingerprint:
        raise DataError("the data changed while they were read; run the same command again")
    for line in facts.warnings:
        warn(line)


def _begun(out: str, identity: Identity, *, resume: bool) -> Beginning:
    """Refuse checkpoints that are of something else, or that nobody asked to go on from.

    They are refused and not deleted: they may be days of somebody's work.
    """
    begun = checkpoints.newest(out, identity)
    if begun.uri is not None and not resume:
        raise RunError(
            f"{out} holds {numbered(begun.epoch or 0, 'epoch|epochs')} of an unfinished training of this "
            "configuration; add --resume, "
            f"remove the folder {checkpoints.FOLDER}, or choose another --out"
        )
    return begun


def _trained(out: str) -> artifact.StoredRun:
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
    layout: Mapping[str, Any],
) -> None:
    """Claim ``out``, ``fit``, and publish the run; ``notes`` are said beforehand, of ``layout`` what was chosen."""
    began = datetime.now(UTC)
    for note in notes:
        progress.note(f"{out}: {note}")
    artifact.begin_run(out, config)
    chosen = {name: layout[name] for name in (checkpoints.DATES,) if name in layout}
    write_result(out, config, data, workers, fit(), began=began, **chosen)


def write_result(
    out: str,
    config: Config,
    data: DataFacts,
    workers: Workers,
    state: TrainState,
    *,
    began: datetime,
    **facts: Any,
) -> artifact.StoredRun:
    """Publish the run that a training came to; ``facts`` go into its manifest beside those of every run."""
    if config.train.tensorboard:
        write_events(files.join(out, "tensorboard"), state.history)
    return artifact.write_run(
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
            "recurrent_layers": layers_run(config, data.counts["train"], gpu=workers.gpu),
            **facts,
        },
    )
