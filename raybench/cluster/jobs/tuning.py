"""A search: trials over shared panels, the best of them as a run, and what it is worth on dates it never saw.

    DIR/search.yaml      the configuration that was asked for; written first
    DIR/trials.parquet   a row for each trial, kept while the search runs (``search.ledger``)
    DIR/trials/NNNN/     each trial's configuration and checkpoints
    DIR/best/            the run with the best value of ``tune.metric``, ready for ``raybench score``
    DIR/scores, DIR/evaluation   of that run alone, on its test segment, once
    DIR/report.html, report.json
    DIR/search.json      what came of it; published last

Ray Tune runs the trials (``cluster.trials``). A search that was interrupted goes on with ``--resume``: trials that had
ended stay what they are, begun ones go on from their checkpoints, and the others are those that the seed gives anyhow.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import ray
import torch

from raybench.cluster.address import LOCAL, cluster_address
from raybench.cluster.dashboard import without_dashboard
from raybench.cluster.jobs.ownership import Say
from raybench.cluster.jobs.training import look_at, write_result
from raybench.cluster.jobs.tuning_report import finish
from raybench.cluster.preparation import TrainingData, prepare
from raybench.cluster.resources import Workers, check_dates, plan_trials, this_machine
from raybench.cluster.search import hands_over
from raybench.cluster.session import capacity, joined, session
from raybench.cluster.trial import SearchTask
from raybench.cluster.trials import Plan, run_trials
from raybench.config import Config, dump_config, load_config, with_absolute_paths
from raybench.config.identity import data_places
from raybench.config.load import Source
from raybench.config.panel_spec import PanelSpec
from raybench.config.tune import TpeSearch
from raybench.errors import ConfigError, TrainingError
from raybench.panel.size import panel_bytes
from raybench.progress import SILENT, Progress
from raybench.reports.plain import plain
from raybench.runs import artifact
from raybench.search import folder
from raybench.search.advice import advice
from raybench.search.draws import Draw, data_variants, draws, trial_config
from raybench.search.folder import SearchResult
from raybench.search.ledger import Ledger, TrialRecord, trial_folder, trial_id
from raybench.storage import files
from raybench.storage.claims import held, ticket_of
from raybench.storage.places import SEARCH, Kind, refuse_others
from raybench.training import checkpoints
from raybench.training.sources import Sources, open_sources, wants_dates

MOST_PANELS = 32  # one for each value of what changes the data


def search(
    config: Source,
    *,
    out: str,
    resume: bool = False,
    progress: Progress = SILENT,
    warn: Say | None = None,
) -> SearchResult:
    """Search over keys of ``config`` as its part ``tune`` says, into the folder ``out``.

    A finished search of the same configuration is returned as it is; one that was begun goes on with ``resume``.
    RunError if ``out`` belongs to another configuration, or is begun and ``resume`` is not given. A trial that fails is
    recorded with its cause; TrainingError if all do.
    """
    say = warn or progress.note
    wanted = with_absolute_paths(load_config(config))
    out = files.open_location(out).uri
    refuse_others(out, Kind.SEARCH, option="--out", files=True)
    if not folder.is_finished(out):
        with held(out, what="tune", say=progress.note):
            if not folder.is_finished(out):  # by its owner in between
                folder.claim(out, wanted, resume=resume)
                return _search(wanted, out, progress, say)
    folder.refuse_other(out, wanted)
    return folder.load_search(out)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Panels:
    """The data of all trials, opened: one for each spec that any of them has."""

    sources: Mapping[str, Sources]
    dates: bool

    @property
    def bytes(self) -> int:
        """What the largest panel takes."""
        return max(panel_bytes(each.spec, each.bars, each.features) for each in self.sources.values())


def _search(config: Config, out: str, progress: Progress, say: Say) -> SearchResult:
    began = datetime.now(UTC)
    ledger = Ledger.opened(out, list(config.search_space), config.tune.mode)
    drawn = _drawn(config, ledger)
    candidates = [trial_config(config, draw.values) for draw in drawn or data_variants(config)]
    opened = _open(candidates)
    ledger.on_data({key: sources.fingerprint for key, sources in opened.sources.items()})
    _check_room(config, opened, progress)
    for line in advice(config, None if drawn is None else len(drawn)):
        say(line)
    places, begun_elsewhere = {"--out": out, **data_places(config)}, ray.is_initialized()
    with session(places=places, dashboard=(config.cluster.num_workers or 1) > 1, progress=progress):
        workers, concurrent, gpu = plan_trials(config, capacity(), panel_bytes=opened.bytes)
        found = without_dashboard() if (begun_elsewhere or joined()) and workers.number > 1 else None
        if found is not None:
            say(found)
        if opened.dates:
            check_dates(config, workers)
        files.publish_bytes(files.join(out, SEARCH), dump_config(config).encode())
        data = {key: _prepared(sources, progress, say) for key, sources in opened.sources.items()}
        task = SearchTask(
            config=config,
            out=out,
            panels=data,
            workers=workers,
            hands_over=hands_over(config.tune.scheduler),
            ended=ledger.ended(),
            claim=ticket_of(out),
        )
        plan = Plan(config=config, drawn=drawn, concurrent=concurrent, gpu=gpu)
        try:
            run_trials(plan, task, ledger, progress)
        finally:  # an interrupt leaves what is finished usable
            winner = ledger.best()
            best = None if winner is None else _write_best(config, out, winner, data, workers, began)
    if winner is None or best is None:
        raise TrainingError(f"{out}: none of {len(ledger.records)} trials came to a metric; {_first_cause(ledger)}")
    test, warnings = finish(config, out, ledger, best, winner, progress)
    seconds = (datetime.now(UTC) - began).total_seconds()
    folder.write_result(out, config, ledger, best, winner, test=test, warnings=warnings, seconds=seconds)
    return folder.load_search(out)


def _drawn(config: Config, ledger: Ledger) -> list[Draw] | None:
    """The trials that are known beforehand; those that a population changed have the values it gave them."""
    if isinstance(config.tune.search, TpeSearch):
        return None
    found = draws(config)
    if config.tune.scheduler.type != "pbt":
        return found
    known = ledger.records
    return [Draw(number=d.number, values=known[d.number].values) if d.number in known else d for d in found]


def _open(candidates: Sequence[Config]) -> _Panels:
    """Open the data of every spec among trials: what is wrong with a path, a date or a network is told now."""
    sources: dict[str, Sources] = {}
    dates = False
    seen: set[str] = set()
    for config in candidates:
        if config.data.residency == "streaming":
            raise ConfigError("data.residency is streaming, and trials share a resident panel; set it to resident")
        spec = PanelSpec.of(config)
        key = spec.key
        if key not in sources:
            sources[key] = open_sources(spec)
        kind = f"{key} {json.dumps(config.model.model_dump(mode='json'), sort_keys=True)}"
        if kind not in seen:
            seen.add(kind)
            dates = wants_dates(config, sources[key]) or dates
    if len(sources) > MOST_PANELS:
        raise ConfigError(
            f"tune.space gives {len(sources)} different panels of data, of which {MOST_PANELS} are the most; "
            "search fewer values of data.*"
        )
    return _Panels(sources=sources, dates=dates)


def _check_room(config: Config, opened: _Panels, progress: Progress) -> None:
    """Refuse what this machine has no room for, where Ray is yet to be started on it alone."""
    if ray.is_initialized() or cluster_address(progress=progress) != LOCAL:
        return
    workers, _, _ = plan_trials(config, this_machine(gpus=torch.cuda.device_count()), panel_bytes=opened.bytes)
    if opened.dates:
        check_dates(config, workers)


def _prepared(sources: Sources, progress: Progress, say: Say) -> TrainingData:
    data = prepare(sources, "resident", progress=progress)
    look_at(data.facts, sources, say)
    return data


def _write_best(
    config: Config, out: str, winner: TrialRecord, data: Mapping[str, TrainingData], workers: Workers, began: datetime
) -> artifact.StoredRun | None:
    """Publish the trial's best weights as the run ``best``, in the place of what an interrupt had left there."""
    wanted = trial_config(config, winner.values)
    found = checkpoints.newest_state(trial_folder(out, winner.number))
    if found is None:
        return None
    place = files.join(out, folder.BEST)
    files.remove(files.join(place, artifact.MANIFEST))
    facts = data[PanelSpec.of(wanted).key].facts
    said = {"trial": trial_id(winner.number), "metric": config.tune.metric, "values": dict(winner.values)}
    return write_result(place, wanted, facts, workers, found[0], began=began, search=plain(said))


def _first_cause(ledger: Ledger) -> str:
    causes = [record.error for record in ledger.records.values() if record.error]
    return f"the first failed with: {causes[0]}" if causes else "validation metrics were NaN in all of them"
