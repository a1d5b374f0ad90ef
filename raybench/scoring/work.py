"""What a scoring job has to do: which dates of a table, told from what is there and what is asked for.

A job that goes on since the last date neither lists the table nor opens more of it than that date's footer, so that
its cost does not grow with the table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

import numpy as np

from raybench.errors import DataError
from raybench.market.bars import open_bars
from raybench.market.concepts import open_concepts
from raybench.progress import Progress
from raybench.reports.text import numbered
from raybench.runs.artifact import StoredRun
from raybench.scoring.coverage import told
from raybench.scoring.inputs import ScoringSource, seen
from raybench.scoring.planning import DatePlan, plan_dates
from raybench.scoring.refused import read_refused, worth_another_try
from raybench.scoring.stale import Sources, find_stale
from raybench.scoring.table import DateFacts, date_versions, dates, newest_date, scored_dates
from raybench.storage.places import Kind, refuse_others


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Which dates are asked for; ``start`` None: from the start of the test segment, of what is stale from the first.

    since_last, stale and overwrite: of these at most one.
    """

    start: date | None = None
    end: date | None = None
    since_last: bool = False
    stale: bool = False
    overwrite: bool = False
    min_coverage: float = 0.0

    def check(self) -> None:
        """Refuse what contradicts itself."""
        given = [f"--{name.replace('_', '-')}" for name in ("since_last", "stale", "overwrite") if getattr(self, name)]
        if "--stale" in given and len(given) > 1:
            raise DataError(f"{' and '.join(given)} are both given; want one of them")


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The plan of a job.

    there: dates of the table, as far as it matters. newest: the last of them and what is known of it, where that was
    read. noted: dates that were refused, where that was read; refused: those of them that are not tried again. before:
    the version (``storage.versions``) of each date that is there and is to be replaced.
    """

    plan: DatePlan
    there: Sequence[date]
    refused: Mapping[date, Mapping[str, Any]]
    newest: tuple[date, DateFacts] | None = None
    noted: Mapping[date, Mapping[str, Any]] | None = None
    before: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def plan_work(
    to: str, runs: Sequence[StoredRun], inputs: ScoringSource, run_id: str, asked: Asked, progress: Progress
) -> Work:
    """Plan what is asked for; DataError if it is refused: another run's table, something else at its place."""
    calendar = inputs.calendar
    newest = newest_date(to, np.unique(calendar.astype("datetime64[D]")).tolist()) if asked.since_last else None
    versions = date_versions(to) if newest is None and (asked.overwrite or asked.stale) else None
    there = [newest[0]] if newest is not None else _there(to, asked, versions)
    warnings: tuple[str, ...] = ()
    redo = None
    start = asked.start or runs[0].config.data.segments.test[0]
    if asked.stale:
        start = asked.start or min(there)
        redo, warnings = _stale(to, runs, inputs, run_id, replace(asked, start=start), progress)
    noted = read_refused(to) if asked.since_last else None
    still = {
        day: facts for day, facts in (noted or {}).items() if _stays_refused(day, facts, runs, inputs, run_id, asked)
    }
    again = set(noted or {}) - set(still)
    if asked.start is None and there:  # what was asked for once is come back to
        start = min([start, *again, *([max(there)] if asked.since_last else [])])
    plan = plan_dates(
        calendar,
        start=start,
        end=asked.end,
        present=there,
        refused=again,
        since_last=asked.since_last,
        overwrite=asked.overwrite,
        stale=redo,
    )
    if still:
        plan = plan.without(np.array(sorted(still), dtype="datetime64[D]"))
    if not asked.stale:
        check_same_run(to, plan, there, run_id, newest, since_last=asked.since_last)
    if versions is None:  # all else was not there when that was asked
        versions = date_versions(to, only=again.intersection(plan.missing.tolist()))
    before = {str(day): version for day, version in versions.items()}
    return Work(plan=plan, there=there, refused=still, newest=newest, noted=noted, before=before, warnings=warnings)


def _there(to: str, asked: Asked, versions: Mapping[date, str] | None) -> list[date]:
    there = dates(to) if versions is None else list(versions)
    if not (there and asked.since_last):  # whose dates they are is asked below
        refuse_others(to, Kind.SCORES, option="--to")
    if asked.stale and not there:
        raise DataError(f"{to}: has no scores that could be stale; leave --stale out to score")
    return there


def _stays_refused(
    day: date,
    facts: Mapping[str, Any],
    runs: Sequence[StoredRun],
    inputs: ScoringSource,
    run_id: str,
    asked: Asked,
) -> bool:
    what = seen(runs, inputs, np.datetime64(day, "D"))
    return not worth_another_try(facts, run_id=run_id, min_coverage=asked.min_coverage, seen=what)


def _stale(
    to: str, runs: Sequence[StoredRun], inputs: ScoringSource, run_id: str, asked: Asked, progress: Progress
) -> tuple[tuple[date, ...], tuple[str, ...]]:
    """The dates of these runs whose rows are others now, and what else is to be said."""
    facts = scored_dates(to, asked.start, asked.end)
    own = {day: fact for day, fact in facts.items() if fact.run_id == run_id}
    sources = sources_of(runs, inputs)
    found = find_stale(to, own, sources, progress)
    surplus = sorted(set(facts) - set(sources.days or facts))
    return found.dates, tuple(_said(to, [day for day in facts if day not in own], found.unknown, surplus))


def _said(to: str, others: Sequence[date], unknown: Sequence[date], surplus: Sequence[date]) -> Iterator[str]:
    if others:
        days = told([str(day) for day in others])
        yield f"{to}: {days}: by another run, and left as they are"
    if unknown:
        days = told([str(day) for day in unknown])
        yield f"{to}: {days}: were scored before the hash of their rows was kept; --overwrite scores them again"
    if surplus:
        days = told([str(day) for day in surplus])
        yield f"{to}: {days}: not in the calendar of the data any more, and left as they are; remove them"


def sources_of(runs: Sequence[StoredRun], inputs: ScoringSource) -> Sources:
    """What the scores of some runs are made from."""
    data = [run.config.data for run in runs]
    second = next((d.second.bars for d in data if d.second is not None), None)
    concepts = next((d.concepts for d in data if d.concepts is not None), None)
    return Sources(
        bars=inputs.bars,
        features=inputs.features,
        second=None if second is None else open_bars(second),
        concepts=None if concepts is None else open_concepts(concepts),
    )


def check_same_run(
    to: str,
    plan: DatePlan,
    there: Sequence[date],
    run_id: str,
    newest: tuple[date, DateFacts] | None,
    *,
    since_last: bool,
) -> None:
    """Refuse a range in which another run scored dates that would stay beside this one's."""
    stays = sorted(set(plan.wanted.tolist()) - set(plan.missing.tolist()))
    if since_last and len(plan.missing) and there:
        stays = [max(there)]
    if not stays:
        return
    found = dict([newest]) if newest is not None and stays == [newest[0]] else scored_dates(to, only=stays)
    others = {day: facts.run_id for day, facts in found.items() if facts.run_id != run_id}
    if not others:
        return
    names = ", ".join(sorted(set(others.values())))
    free = [day for day in plan.wanted.tolist() if day > max(others)]
    after = (
        f"--start {free[0]} keeps what is there and scores what comes after"
        if free
        else "they go up to the last date of the data"
    )
    which, again = (
        f"{numbered(len(others), 'date|dates')} from {min(others)} to {max(others)} "
        f"{'was' if len(others) == 1 else 'were'}",
        "--overwrite scores them again",
    )
    if since_last:
        which = f"its newest date, {stays[-1]}, was"
        again = "--overwrite in place of --since-last scores its dates again"
    raise DataError(
        f"{to}: {which} scored by run {names}, and --model is run {run_id}; {again}, {after}, or choose another --to"
    )
