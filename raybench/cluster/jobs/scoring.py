"""Batch scoring: runs and bars in, one table per date out, each date whole or not at all.

Few dates are scored in this process, which does not even load Ray; many in a pool of its actors
(``scoring_pool``), with equal results. What can be wrong with what was given is told before either begins.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import torch

import raybench
from raybench.allocator import keep_memory
from raybench.cluster import choice, ran_on
from raybench.config.identity import data_places
from raybench.config.panel_spec import PanelSpec
from raybench.errors import DataError
from raybench.progress import SILENT, Progress
from raybench.reports.text import numbered
from raybench.runs.artifact import StoredRun
from raybench.runs.folders import failed_fits
from raybench.scoring.audit import note_job
from raybench.scoring.checks import check_inputs
from raybench.scoring.coverage import expected, told
from raybench.scoring.ensemble import Way, ensemble_id, parse_way
from raybench.scoring.gaps import begun_days, empty_days
from raybench.scoring.inputs import ScoringSource, checked_universe, device_of, forgetful, open_runs, panels_of, seen
from raybench.scoring.job import DayResult, DayScorer, Target
from raybench.scoring.planning import Dates, apart, parse_day
from raybench.scoring.predictor import Predictor
from raybench.scoring.refused import Begun, note_refused
from raybench.scoring.result import ScoringResult, check_superseded, refused_of, result_of
from raybench.scoring.table import date_uri, dates, scored_dates
from raybench.scoring.work import Asked, Work, plan_work
from raybench.storage import files
from raybench.training.needs import Needs, most_rows

MIN_COVERAGE = 0.5
IN_ORDER = 8  # dates that are written one after the other; of more, to wait for the disk or S3 each time is felt
_BY_OPTION = ("data.bars", "data.features")  # what a run was trained on; what is read now is given anew
LOCAL_ROWS = 150_000  # scores that one process makes about as fast as Ray starts and does them; see docs/performance.md


def score(
    models: str | Sequence[str],
    *,
    bars: str | None = None,
    features: str | None = None,
    concepts: str | None = None,
    second: str | None = None,
    to: str,
    start: str | None = None,
    end: str | None = None,
    since_last: bool = False,
    stale: bool = False,
    min_coverage: float = MIN_COVERAGE,
    overwrite: bool = False,
    combine: str = "scores",
    local: bool | None = None,
    trust: bool = False,
    progress: Progress = SILENT,
) -> ScoringResult:
    """Score every instrument of the universe on every date of a range; several runs are combined into one.

    A folder of seeds (``train --seeds``) or a bench stands for its runs; ``combine`` is scores or ranks, see
    ``scoring.ensemble``. The default range runs from the start of the first run's test segment to the last bar.
    Only dates that ``to`` lacks are done, unless ``overwrite``; DataError if another run
    scored those that it has, or with ``since_last`` the newest, after which it would go on. SupersededError, once the
    others are done, of dates that another job wrote otherwise in the meantime. ``stale``: only dates that
    are there by these runs, and whose rows are others now. A date on which fewer than
    ``min_coverage`` of those who should be can be scored is left out, named, and done by the next job that finds more.
    ``local`` uses this process alone (True) or Ray (False), with equal results; by default few dates stay here, unless
    RAY_ADDRESS names a cluster.
    ``concepts`` takes the place of the concept table that a run was trained with, which may know the newest dates,
    and ``second`` that of the bars of its second window. ``trust`` lets the runs import networks of their own.
    """
    began = datetime.now(UTC)
    way = parse_way(combine)
    asked = Asked(
        start=parse_day("--start", start) if start else None,
        end=parse_day("--end", end) if end else None,
        since_last=since_last,
        stale=stale,
        overwrite=overwrite,
        min_coverage=min_coverage,
    )
    asked.check()
    runs = open_runs(models, concepts=concepts, second=second, trust=trust)
    inputs = ScoringSource.open(bars, features)
    universe = checked_universe(runs, inputs)
    to = files.open_location(to).uri
    run_id = ensemble_id([run.run_id for run in runs], way)
    work = plan_work(to, runs, inputs, run_id, asked, progress)
    warnings = (*_failed(models, runs), *work.warnings, *check_inputs(runs, inputs, work.plan.missing))
    target = _target(to, run_id, runs, inputs, universe, work, way, min_coverage)
    if not len(work.plan.missing):
        return _nothing_new(work, target, warnings, began)
    results = _scored(runs, inputs, work, asked, target, local, progress, began)
    check_superseded(to, results)
    return result_of(work.plan, target, results, work.refused, (*warnings, *forgetful(runs, inputs)), _seconds(began))


def _target(
    to: str,
    run_id: str,
    runs: Sequence[StoredRun],
    inputs: ScoringSource,
    universe: str,
    work: Work,
    way: Way,
    min_coverage: float,
) -> Target:
    """Where scores go, and who should be among them."""
    who = expected(inputs, universe, work.plan, _trained_on(runs))
    return Target(
        to=to,
        run_id=run_id,
        members=who.members,
        usual=who.usual,
        gaps=begun_days(runs, inputs),
        min_coverage=min_coverage,
        combine=way,
        run_ids=tuple(run.run_id for run in runs),
        before=work.before,
    )


def _scored(
    runs: Sequence[StoredRun],
    inputs: ScoringSource,
    work: Work,
    asked: Asked,
    target: Target,
    local: bool | None,
    progress: Progress,
    began: datetime,
) -> list[DayResult]:
    """Score what is missing, and note beside the table what was begun, refused and done, however it ends."""
    results, days = list[DayResult](), work.plan.missing
    here = bool(local) or (local is None and few(days=len(days), a_day=_a_day(runs, target), runs=len(runs)))
    begun = Begun(target.to, [] if asked.stale or asked.overwrite else list(map(str, days)), work.noted)
    in_order = here and _leaves_no_hole(work)
    if not in_order:
        begun.note()
    try:
        _score(runs, inputs, work, asked, target, begun if in_order else None, here, progress, results)
    except BaseException as error:  # an interrupt too: the dates that are written stay
        with contextlib.suppress(DataError):
            _note(target, runs, inputs, begun, results, began, ended=type(error).__name__)
            begun.forget(lambda: list(map(str, dates(target.to))))
        raise
    _note(target, runs, inputs, begun, results, began)
    return results


def _leaves_no_hole(work: Work) -> bool:
    """Whether the dates are few, and come after all that are there but for those that are noted.

    Then they are written one after the other: nothing has to be noted lest a date be passed by.
    """
    days = work.plan.missing.tolist()
    newest = max(work.there, default=date.min)
    return len(days) <= IN_ORDER and all(day > newest or day in (work.noted or {}) for day in days)


def _a_day(runs: Sequence[StoredRun], target: Target) -> int:
    return max([*target.usual.values(), _trained_on(runs)], default=0)


def _seconds(began: datetime) -> float:
    return (datetime.now(UTC) - began).total_seconds()


def _note(
    target: Target,
    runs: Sequence[StoredRun],
    inputs: ScoringSource,
    begun: Begun,
    results: Sequence[DayResult],
    began: datetime,
    ended: str = "done",
) -> None:
    """Note beside the table which dates were refused, and who did what."""
    written = sorted(result.day for result in results if result.written)
    refused = refused_of(results, target)
    noted = {day: {**facts, "seen": seen(runs, inputs, np.datetime64(day, "D"))} for day, facts in refused.items()}
    if not results:
        return
    done = [result.day for result in results if not result.low]  # those without anybody to score, too
    changed = note_refused(target.to, noted, done, begun.known)
    if not written and not changed:
        return
    note_job(
        target.to,
        "score",
        began,
        {
            "run_id": target.run_id,
            "inputs": _inputs(runs, inputs),
            "min_coverage": target.min_coverage,
            "written": written,
            "refused": sorted(refused),
            "ended": ended,
            "raybench": raybench.__version__,
        },
    )


def _inputs(runs: Sequence[StoredRun], inputs: ScoringSource) -> dict[str, Any]:
    """What was read, where it lay and what it was then."""
    found: dict[str, Any] = {"models": [run.uri for run in runs]}
    if inputs.bars is not None:
        found |= {"bars": inputs.bars.uri, "bars_fingerprint": inputs.bars.fingerprint}
    if inputs.features is not None:
        found |= {"features": inputs.features.uri, "features_fingerprint": inputs.features.fingerprint}
    for run in runs:
        data = run.config.data
        found |= {} if data.second is None else {"second": data.second.bars}
        found |= {} if data.concepts is None else {"concepts": data.concepts}
    return found


def _failed(models: str | Sequence[str], runs: Sequence[StoredRun]) -> Iterator[str]:
    """Name the fits of benches that came to no run, and so have no say."""
    single = {run.uri for run in runs}  # a run has no fits in it
    for uri in [models] if isinstance(models, str) else models:
        if files.open_location(uri).uri in single:
            continue
        failed = [f"{files.name_of(fit.rpartition('/')[0])}/{files.name_of(fit)}" for fit in failed_fits(uri)]
        if failed:
            yield f"{uri}: {told(failed)} failed, and have no part in what is combined"


def _trained_on(runs: Sequence[StoredRun]) -> int:
    """Instruments on a date of training, as far as a run says so."""
    known = [Needs.of_manifest(run.manifest, where=run.uri) for run in runs]
    return max((needs.universe_size for needs in known if needs is not None), default=0)


def _nothing_new(work: Work, target: Target, warnings: Sequence[str], began: datetime) -> ScoringResult:
    """Say that there was nothing to do, and whose the table is."""
    done = result_of(work.plan, target, [], work.refused, warnings, _seconds(began))
    if not work.there:
        return done
    day, facts = work.newest or scored_dates(target.to, only=[max(work.there)]).popitem()
    if facts.run_id != target.run_id:
        other = (
            f"{target.to}: there was nothing new to score; its newest date, {day}, is by run {facts.run_id} and not by "
            f"--model, which is run {target.run_id}; choose another --to, or the --model it belongs to"
        )
        done = replace(done, warnings=(*done.warnings, other))
    return replace(done, newest=(str(day), facts.run_id))


def _score(
    runs: Sequence[StoredRun],
    inputs: ScoringSource,
    work: Work,
    asked: Asked,
    target: Target,
    begun: Begun | None,
    here: bool,
    progress: Progress,
    results: list[DayResult],
) -> None:
    """Score here or on Ray; ``results`` grow as they come. Days far apart have panels of their own.

    ``begun``: where dates are to be written one after the other.
    """
    days, began = work.plan.missing, time.monotonic()
    rows = max(most_rows(PanelSpec.of(run.config), run.processors.columns) for run in runs)
    parts = apart(days, inputs.calendar, rows)
    if here:
        ran_on.here(progress)
        every = (_score_here(runs, inputs, part, target, begun, progress) for part in parts)
        _gather(itertools.chain.from_iterable(every), target, days, progress, results)
        return
    from raybench.cluster.scoring_pool import score_on_ray
    from raybench.cluster.session import joined, session

    places = {"--model": runs[0].uri, "--to": target.to}
    for run in runs:
        places |= read_places(run, inputs)
    with session(places=places, progress=progress):
        every = (score_on_ray(runs, inputs, part, target, progress) for part in parts)
        _gather(itertools.chain.from_iterable(every), target, days, progress, results)
        if joined():
            _show(target.to, work, asked, results, time.monotonic() - began)


def read_places(run: StoredRun, inputs: ScoringSource) -> dict[str, str]:
    """Where the data lie that nodes read to score with a run, by option, or by the key of its configuration."""
    places = {} if inputs.bars is None else {"--bars": inputs.bars.uri}
    places |= {} if inputs.features is None else {"--features": inputs.features.uri}
    return places | {key: at for key, at in data_places(run.config).items() if key not in _BY_OPTION}


def _show(to: str, work: Work, asked: Asked, results: Sequence[DayResult], seconds: float) -> None:
    """Let the cluster's metrics say what became of the table; its last date only where it was gone up to."""
    from raybench.cluster.exported import show_scores

    rows = {result.day: result.rows for result in results if result.written}
    there = [*map(str, work.there), *rows]
    refused = {*map(str, work.refused), *(result.day for result in results if result.low)}
    to_the_end = asked.end is None and not asked.stale
    show_scores(
        to,
        last=max(there) if there and to_the_end else None,
        refused=len(refused),
        rows=rows,
        per_second=sum(rows.values()) / seconds,
    )


def few(*, days: int, a_day: int, runs: int) -> bool:
    """Say whether to start Ray would take longer than it saves: no cluster is named or joined, and there is little."""
    if choice.asked_for():
        return False
    return days * max(a_day, 1) * runs <= LOCAL_ROWS


def _score_here(
    runs: Sequence[StoredRun],
    inputs: ScoringSource,
    days: Dates,
    target: Target,
    begun: Begun | None,
    progress: Progress,
) -> Iterator[DayResult]:
    """Score in this process; ``begun``: a date after the other, and what is left is noted once one is refused."""
    device = device_of(runs, gpus=torch.cuda.device_count())
    predictors = []
    for run, panel in zip(runs, panels_of(runs, inputs, days, map, progress), strict=True):
        target = target.knowing(empty_days(run, panel, target.min_coverage), panel.hashes)
        predictors.append(Predictor(run.config, run.weights, panel, device, memory=run.memory, fused=run.fused))
    keep_memory()  # dates come one after the other, each with batches of the same size
    for result in DayScorer(predictors, target).score_days(days, in_order=begun is not None):
        if result.low and begun is not None:
            begun.note()
        yield result


def _gather(
    results: Iterable[DayResult], target: Target, days: Dates, progress: Progress, gathered: list[DayResult]
) -> None:
    """Take the results as they come; there is one for each day."""
    with progress.track("scoring dates", len(days)) as advance:
        for result in results:
            gathered.append(result)
            advance(1, text=result.day)
    assert {result.day for result in gathered} == set(map(str, days)), "every day has a result"
    _check_reached(target, [result.day for result in gathered if result.written])


def _check_reached(target: Target, written: Collection[str]) -> None:
    """A folder of this machine is another one on another node: what was written there is not in the table."""
    if not files.open_location(target.to).local:
        return
    elsewhere = sum(not files.exists(date_uri(target.to, day)) for day in written)
    if elsewhere:
        raise DataError(
            f"{elsewhere} of {numbered(len(written), 'date|dates was|were')} written on nodes whose disk "
            "is not this one's; "
            f"--to is {target.to}, want s3:// or a folder that all nodes share"
        )
