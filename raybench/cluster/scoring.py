"""Batch scoring: runs and bars in, one table per date out, each date whole or not at all.

Few dates are scored in this process, which does not even load Ray; many in a pool of its actors
(``scoring_pool``), with equal results. What can be wrong with what was given is told before either begins.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import torch

from raybench.cluster import choice
from raybench.data import storage
from raybench.data.places import Kind, refuse_others
from raybench.errors import DataError
from raybench.page.cards import Card
from raybench.progress import SILENT, Progress
from raybench.score.checks import check_inputs
from raybench.score.coverage import expected
from raybench.score.ensemble import ensemble_id
from raybench.score.inputs import ScoringSource, checked_universe, device_of, forgetful, open_runs, panels_of
from raybench.score.job import DayResult, DayScorer, Target
from raybench.score.planning import DatePlan, Dates, parse_day, plan_dates
from raybench.score.predictor import Predictor
from raybench.score.refused import note_refused, read_refused
from raybench.score.table import dates, scored_dates
from raybench.train.artifact import Run
from raybench.train.needs import Needs

MIN_COVERAGE = 0.5
LOCAL_ROWS = 150_000  # scores that one process makes about as fast as Ray starts and does them; see docs/performance.md


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Scored(Card):
    """What a scoring job did.

    written: days published now. present: days that were there and stay. empty: days on which nobody can be scored.
    low_coverage: days left out because too few of those who should be scored can be, of which ``refused`` says more.
    warnings: what was scored with less than there should be, a line each.
    """

    written: tuple[str, ...]
    present: int
    rows: int
    empty: tuple[str, ...]
    low_coverage: tuple[str, ...]
    seconds: float
    run_id: str
    refused: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def card(self) -> tuple[str, Mapping[str, Any]]:
        """What was done, for a prompt or a notebook."""
        first, last = (self.written[0], self.written[-1]) if self.written else (None, None)
        return f"{len(self.written):,} dates scored", {
            "first": first,
            "last": last,
            "rows": self.rows,
            "there before": self.present or None,
            "refused": len(self.low_coverage) or None,
            "run_id": self.run_id,
        }


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
    min_coverage: float = MIN_COVERAGE,
    overwrite: bool = False,
    local: bool | None = None,
    trust: bool = False,
    progress: Progress = SILENT,
) -> Scored:
    """Score every instrument of the universe on every date of a range; several runs are combined into one.

    A folder of seeds (``train --seeds``) stands for its runs. The default range runs from the start of the first run's
    test segment to the last bar. Only dates that ``to`` lacks are done, unless ``overwrite``; DataError if another run
    scored those that it has. A date on which fewer than ``min_coverage`` of those who should be can be scored is left
    out, named, and done by the next job that finds them. ``local`` uses this process alone (True) or Ray (False), with
    equal results; by default few dates stay here, unless RAY_ADDRESS names a cluster.
    ``concepts`` takes the place of the concept table that a run was trained with, which may know the newest dates,
    and ``second`` that of the bars of its second window. ``trust`` lets the runs import networks of their own.
    """
    began = time.monotonic()
    runs = open_runs(models, concepts=concepts, second=second, trust=trust)
    inputs = ScoringSource.open(bars, features)
    universe = checked_universe(runs, inputs)
    to = storage.open_location(to).uri
    refuse_others(to, Kind.SCORES, option="--to")
    there = dates(to)
    plan = plan_dates(
        inputs.calendar,
        start=parse_day("--start", start) if start else runs[0].config.data.segments.test[0],
        end=parse_day("--end", end) if end else None,
        present=there,
        refused=read_refused(to) if since_last else (),
        since_last=since_last,
        overwrite=overwrite,
    )
    run_id = ensemble_id([run.run_id for run in runs])
    _check_same_run(to, plan, there, run_id)
    warnings = check_inputs(runs, inputs, plan.missing)
    who = expected(inputs, universe, plan, _trained_on(runs))
    target = Target(to=to, run_id=run_id, members=who.members, usual=who.usual, min_coverage=min_coverage)
    results = _scored(runs, inputs, plan, target, local, progress) if len(plan.missing) else []
    return _summary(plan, target, results, (*warnings, *forgetful(runs, inputs)), time.monotonic() - began)


def _trained_on(runs: Sequence[Run]) -> int:
    """Instruments on a date of training, as far as a run says so."""
    known = [Needs.of_manifest(run.manifest, where=run.uri) for run in runs]
    return max((needs.universe_size for needs in known if needs is not None), default=0)


def _check_same_run(to: str, plan: DatePlan, there: Sequence[date], run_id: str) -> None:
    """Refuse a range in which another run scored dates that would stay beside this one's."""
    stays = sorted(set(plan.wanted.tolist()) - set(plan.missing.tolist()))
    if not stays:
        return
    found = scored_dates(to, stays[0], stays[-1], only=stays)
    others = {day: facts.run_id for day, facts in found.items() if facts.run_id != run_id}
    if not others:
        return
    names = ", ".join(sorted(set(others.values())))
    free = [day for day in plan.wanted.tolist() if day > max(others)]
    after = f"--start {free[0]} keeps them and scores what comes after" if free else "they go up to the last date"
    raise DataError(
        f"{to}: {len(others)} dates from {min(others)} to {max(others)} were scored by run {names}, and --model is run "
        f"{run_id}; --overwrite scores them again, {after}, or choose another --to"
    )


def _scored(
    runs: Sequence[Run], inputs: ScoringSource, plan: DatePlan, target: Target, local: bool | None, progress: Progress
) -> list[DayResult]:
    """Score here or on Ray."""
    days = plan.missing
    a_day = max([*target.usual.values(), _trained_on(runs)], default=0)
    if local or (local is None and few(days=len(days), a_day=a_day, runs=len(runs))):
        return _gathered(_score_here(runs, inputs, days, target, progress), days, progress)
    from raybench.cluster.scoring_pool import score_on_ray
    from raybench.cluster.session import session

    with session(progress=progress):
        return _gathered(score_on_ray(runs, inputs, days, target, progress), days, progress)


def few(*, days: int, a_day: int, runs: int) -> bool:
    """Say whether to start Ray would take longer than it saves: no cluster is named or joined, and there is little."""
    if choice.asked_for():
        return False
    return days * max(a_day, 1) * runs <= LOCAL_ROWS


def _score_here(
    runs: Sequence[Run], inputs: ScoringSource, days: Dates, target: Target, progress: Progress
) -> Iterable[DayResult]:
    """Score in this process."""
    device = device_of(runs, gpus=torch.cuda.device_count())
    predictors = [
        Predictor(run.config, run.weights, panel, device, memory=run.memory)
        for run, panel in zip(runs, panels_of(runs, inputs, days, map, progress), strict=True)
    ]
    return DayScorer(predictors, target).score_days(days)


def _gathered(results: Iterable[DayResult], days: Dates, progress: Progress) -> list[DayResult]:
    """Take the results as they come; there is one for each day."""
    gathered = []
    with progress.track("scoring dates", len(days)) as advance:
        for result in results:
            gathered.append(result)
            advance(1, text=result.day)
    assert {result.day for result in gathered} == set(map(str, days)), "every day has a result"
    return gathered


def _summary(
    plan: DatePlan, target: Target, results: Sequence[DayResult], warnings: Sequence[str], seconds: float
) -> Scored:
    """Say what was done, and note beside the table what was refused."""
    written = sorted(result.day for result in results if result.written)
    _check_reached(target, written)
    low = {result.day: result for result in sorted(results, key=lambda result: result.day) if result.low}
    refused = {day: {"scored": r.rows, "usual": r.usual, "run_id": target.run_id} for day, r in low.items()}
    if results:
        note_refused(target.to, refused, written)
    return Scored(
        written=tuple(written),
        present=plan.present,
        rows=sum(result.rows for result in results if result.written),
        empty=tuple(sorted(result.day for result in results if not result.rows and not result.low)),
        low_coverage=tuple(low),
        seconds=seconds,
        run_id=target.run_id,
        refused=refused,
        warnings=tuple(warnings),
    )


def _check_reached(target: Target, written: Collection[str]) -> None:
    """A folder of this machine is another one on another node: what was written there is not in the table."""
    elsewhere = len(set(written) - set(map(str, dates(target.to)))) if written else 0
    if elsewhere:
        raise DataError(
            f"{elsewhere} of {len(written)} dates were written on nodes whose disk is not this one's; "
            f"--to is {target.to}, want s3:// or a folder that all nodes share"
        )
