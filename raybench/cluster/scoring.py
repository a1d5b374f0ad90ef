"""Batch scoring: runs and bars in, one table per date out, each date whole or not at all.

The panel is shared through the object store. Ray Data spreads chunks of dates over a pool of actors; an
actor scores each date of its chunk by itself and publishes it at once, so a job that is cut short leaves
whole dates, and the next one does the rest.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import ray
import ray.data
import torch
from ray.data import ActorPoolStrategy

from raybench.cluster.preparation import on_ray
from raybench.cluster.session import cluster_cpus, cluster_gpus, session
from raybench.config import Config
from raybench.data import storage
from raybench.data.bars import Bars, open_bars
from raybench.data.feature_table import FeatureTable, open_features
from raybench.data.frame import Run as Runner
from raybench.data.panel import Panel, pack, scoring_panel, unpack
from raybench.errors import DataError
from raybench.progress import SILENT, Progress
from raybench.score.ensemble import combine, ensemble_id
from raybench.score.planning import DatePlan, contiguous_chunks, plan_dates
from raybench.score.predictor import Predictor
from raybench.score.table import dates, write_date
from raybench.train.artifact import load_run

DATES_PER_CHUNK = 16
THREADS = 1  # per scoring process: fixed, since sums in another order differ in the last bit


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """What a scoring job did: days written and present before, rows, and days below the wanted coverage."""

    written: tuple[str, ...]
    present: int
    rows: int
    low_coverage: tuple[str, ...]
    seconds: float
    run_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreTask:
    """What a process needs to score dates: panels by reference or by value, weights, where to write."""

    runs: tuple[tuple[Config, Mapping[str, torch.Tensor]], ...]
    panels: tuple[tuple[dict[str, Any], Mapping[str, Any]], ...]
    members: Mapping[str, int]
    to: str
    run_id: str
    min_coverage: float
    device: str


def score(
    models: Sequence[str],
    *,
    bars: str | None = None,
    features: str | None = None,
    to: str,
    start: str | None = None,
    end: str | None = None,
    since_last: bool = False,
    min_coverage: float = 0.0,
    overwrite: bool = False,
    local: bool = False,
    progress: Progress = SILENT,
) -> Scored:
    """Score every instrument of the universe on every date of a range; several models are combined.

    The default range runs from the start of the first run's test segment to the last bar. Only dates that
    ``to`` lacks are done, unless ``overwrite``. A date on which fewer than ``min_coverage`` of the universe's
    members can be scored is left out and named. ``local`` uses this process alone, with equal results.
    """
    began = time.monotonic()
    runs = [load_run(uri) for uri in models]
    opened_bars = open_bars(bars) if bars else None
    table = open_features(features) if features else None
    plan = _plan(runs[0].config, opened_bars, table, to, start, end, since_last=since_last, overwrite=overwrite)
    run_id = ensemble_id([run.run_id for run in runs])
    if not len(plan.missing):
        return Scored(written=(), present=plan.present, rows=0, low_coverage=(), seconds=0.0, run_id=run_id)

    def work(run: Runner) -> list[dict[str, Any]]:
        panels = [
            scoring_panel(
                r.config,
                opened_bars,
                table,
                r.processors,
                plan.missing[0],
                plan.missing[-1],
                run=run,
                progress=progress,
            )
            for r in runs
        ]
        members = _members(runs[0].config, opened_bars, plan)
        task = ScoreTask(
            runs=tuple((r.config, r.weights) for r in runs),
            panels=tuple(pack(panel) for panel in panels),
            members=members,
            to=storage.open_location(to).uri,
            run_id=run_id,
            min_coverage=min_coverage,
            device="cpu",
        )
        outcome = _score_here if local else _score_on_ray
        with progress.track("scoring dates", len(plan.missing)) as advance:
            facts = []
            for fact in outcome(task, plan):
                facts.append(fact)
                advance(1)
        return facts

    if local:
        facts = work(map)
    else:
        with session(progress=progress):
            facts = work(on_ray)
    written = [fact for fact in facts if fact["written"]]
    return Scored(
        written=tuple(sorted(fact["date"] for fact in written)),
        present=plan.present,
        rows=sum(int(fact["rows"]) for fact in written),
        low_coverage=tuple(sorted(fact["date"] for fact in facts if not fact["written"])),
        seconds=time.monotonic() - began,
        run_id=run_id,
    )


def _plan(
    config: Config,
    bars: Bars | None,
    table: FeatureTable | None,
    to: str,
    start: str | None,
    end: str | None,
    *,
    since_last: bool,
    overwrite: bool,
) -> DatePlan:
    if bars is None and table is None:
        raise DataError("nothing to score from; give --bars BARS or --features FEATURES")
    calendar = bars.calendar if bars is not None else table.dates()  # type: ignore[union-attr]
    first = np.datetime64(start) if start else np.datetime64(config.data.segments.test[0])
    return plan_dates(
        calendar,
        start=first,
        end=np.datetime64(end) if end else None,
        present=[np.datetime64(day) for day in dates(to)],
        since_last=since_last,
        overwrite=overwrite,
    )


def _members(config: Config, bars: Bars | None, plan: DatePlan) -> dict[str, int]:
    """Count the universe's members on each day to be scored; nothing without bars."""
    if bars is None:
        return {}
    universe, moments = bars.universe(config.data.universe), plan.missing.astype("datetime64[us]")
    counts = np.sum([universe.contains(name, moments) for name in universe.instruments], axis=0)
    return {str(day): int(count) for day, count in zip(plan.missing, counts, strict=True)}


def _score_here(task: ScoreTask, plan: DatePlan) -> Iterator[dict[str, Any]]:
    scorer = DateScorer(task)
    for chunk in contiguous_chunks(plan.missing, DATES_PER_CHUNK):
        yield from scorer.score_days(chunk)


def _score_on_ray(task: ScoreTask, plan: DatePlan) -> Iterator[dict[str, Any]]:
    """Run :class:`DateScorer` in a pool of actors fed by Ray Data."""
    gpus = cluster_gpus()
    pool = int(gpus) if gpus >= 1 else max(int(cluster_cpus()) - 1, 1)
    chunks = contiguous_chunks(plan.missing, DATES_PER_CHUNK)
    shared = replace(
        task,
        panels=tuple((spec, {k: ray.put(v) for k, v in arrays.items()}) for spec, arrays in task.panels),
        device="cuda" if gpus >= 1 else "cpu",
    )
    items = [{"first": str(chunk[0]), "days": ",".join(map(str, chunk))} for chunk in chunks]
    done = ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
        _PoolScorer,
        fn_constructor_args=(shared,),
        batch_size=1,
        compute=ActorPoolStrategy(size=min(pool, len(items))),
        num_cpus=1,
        num_gpus=1 if gpus >= 1 else 0,
    )
    yield from done.iter_rows()


class DateScorer:
    """Scores dates one by one and publishes each."""

    def __init__(self, task: ScoreTask) -> None:
        torch.set_num_threads(THREADS)
        self._task = task
        self._panels = [unpack(spec, dict(arrays)) for spec, arrays in task.panels]
        self._predictors = [
            Predictor(config, weights, panel, task.device)
            for (config, weights), panel in zip(task.runs, self._panels, strict=True)
        ]

    def score_days(self, days: np.ndarray) -> Iterator[dict[str, Any]]:
        """Score and publish each of ``days`` [D]; yield what became of it."""
        for day in days:
            yield self._score_day(day)

    def _score_day(self, day: np.datetime64) -> dict[str, Any]:
        pairs = zip(self._predictors, self._panels, strict=True)
        keys = combine([self._scores(predictor, panel, day) for predictor, panel in pairs])
        members = self._task.members.get(str(day))
        moments = keys.index.get_level_values("datetime").nunique() if len(keys) else 1
        coverage = len(keys) / (members * moments) if members else float(len(keys) > 0)
        fact = {"date": str(day), "rows": len(keys), "coverage": coverage, "written": True}
        if len(keys) == 0 or coverage < self._task.min_coverage:
            return fact | {"written": False}
        write_date(
            self._task.to,
            day,
            keys.rename("score").reset_index(),
            self._task.run_id,
            {"coverage": coverage if members else None, "members": members},
        )
        return fact

    def _scores(self, predictor: Predictor, panel: Panel, day: np.datetime64) -> pd.Series[float]:
        """Score one day (all its datetimes) with one run, indexed by (instrument, datetime)."""
        names = np.asarray(panel.instruments, dtype=object)
        parts = [
            pd.Series(
                scores.score_N,
                index=pd.MultiIndex.from_arrays(
                    [names[scores.instrument_N], np.repeat(scores.date, len(scores.score_N))],
                    names=["instrument", "datetime"],
                ),
            )
            for scores in predictor.score_between(day, day + 1)
        ]
        return pd.concat(parts).sort_index() if parts else pd.Series(dtype=np.float32)


class _PoolScorer:
    """:class:`DateScorer` as Ray Data wants it: arrays come out of the object store without a copy."""

    def __init__(self, task: ScoreTask) -> None:
        panels = tuple((spec, {k: ray.get(ref) for k, ref in arrays.items()}) for spec, arrays in task.panels)
        self._scorer = DateScorer(replace(task, panels=panels))

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        days = np.array([day for text in batch["days"] for day in str(text).split(",")], dtype="datetime64[D]")
        facts = pd.DataFrame(list(self._scorer.score_days(days)))
        return {name: facts[name].to_numpy() for name in facts.columns}
