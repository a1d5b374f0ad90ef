"""Batch scoring: runs and bars in, one table per date out, each date whole or not at all.

The panel is shared through the object store, and chunks of dates are spread over a pool of actors; an actor
scores each date of its chunk by itself and publishes it at once, so a job that is cut short leaves whole
dates, and the next one does the rest. Ray starts an actor that dies again and retries its chunk, which gives
the same files.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import ray
import torch
from ray.util import ActorPool

from raybench.cluster.errors import as_raised
from raybench.cluster.preparation import on_ray
from raybench.cluster.resources import capacity
from raybench.cluster.session import session
from raybench.config import Config
from raybench.data import storage
from raybench.data.bars import Bars, open_bars
from raybench.data.feature_table import FeatureTable, open_features
from raybench.data.frame import Run as Mapper
from raybench.data.panel import Panel, pack, unpack
from raybench.data.panel.build import scoring_panel
from raybench.data.places import Kind, refuse_others
from raybench.data.reading import knows_label
from raybench.data.universe import ALL
from raybench.errors import DataError
from raybench.models.memory import StoredMemory
from raybench.progress import SILENT, Progress
from raybench.score.ensemble import ensemble_id
from raybench.score.job import DayResult, DayScorer, Target
from raybench.score.planning import DatePlan, contiguous_chunks, count_members, parse_day, plan_dates
from raybench.score.predictor import Predictor
from raybench.score.table import dates, scored_dates
from raybench.train.artifact import Run, load_run

DAYS_PER_CHUNK, CHUNKS_PER_ACTOR = 16, 3  # at most, and at least where there are days enough
RESTARTS = 3  # of an actor: enough for machines that go away, not for ever if a chunk is the cause


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """What a scoring job did.

    written: days published now. present: days that were there and stay; from_other_runs: those of them that
    another run scored. empty: days on which nobody can be scored. low_coverage: days left out because too few
    of the universe can be. warnings: what was scored with less than there should be, a line each.
    """

    written: tuple[str, ...]
    present: int
    from_other_runs: int
    rows: int
    empty: tuple[str, ...]
    low_coverage: tuple[str, ...]
    seconds: float
    run_id: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoringSource:
    """What is scored: bars, a feature table, or features from a table with the universe from bars."""

    bars: Bars | None
    features: FeatureTable | None

    @classmethod
    def open(cls, bars: str | None, features: str | None) -> ScoringSource:
        """Open what is given."""
        if bars is None and features is None:
            raise DataError("nothing to score from; give --bars BARS or --features FEATURES")
        return cls(
            bars=None if bars is None else open_bars(bars),
            features=None if features is None else open_features(features),
        )

    @property
    def calendar(self) -> np.ndarray:
        """Every datetime there is."""
        if self.bars is not None:
            return self.bars.calendar
        assert self.features is not None
        return self.features.dates()


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
    min_coverage: float = 0.0,
    overwrite: bool = False,
    local: bool = False,
    trust: bool = False,
    progress: Progress = SILENT,
) -> Scored:
    """Score every instrument of the universe on every date of a range; several runs are combined into one.

    The default range runs from the start of the first run's test segment to the last bar. Only dates that
    ``to`` lacks are done, unless ``overwrite``. A date on which fewer than ``min_coverage`` of the universe's
    members can be scored is left out and named. ``local`` uses this process alone, with equal results.
    ``concepts`` takes the place of the concept table that a run was trained with, which may know the newest dates,
    and ``second`` that of the bars of its second window. ``trust`` lets the runs import networks of their own.
    """
    began = time.monotonic()
    runs = [load_run(uri, trust=trust) for uri in ([models] if isinstance(models, str) else models)]
    if concepts is not None:
        runs = [with_concepts(run, concepts) for run in runs]
    if second is not None:
        runs = [with_second(run, second) for run in runs]
    inputs = ScoringSource.open(bars, features)
    universe = checked_universe(runs, inputs, min_coverage)
    to = storage.open_location(to).uri
    refuse_others(to, Kind.SCORES, option="--to")
    plan = plan_dates(
        inputs.calendar,
        start=parse_day("--start", start) if start else runs[0].config.data.segments.test[0],
        end=parse_day("--end", end) if end else None,
        present=dates(to),
        since_last=since_last,
        overwrite=overwrite,
    )
    target = Target(
        to=to,
        run_id=ensemble_id([run.run_id for run in runs]),
        members=_members(inputs, universe, plan),
        min_coverage=min_coverage,
    )
    results: list[DayResult] = []
    if len(plan.missing) and local:
        results = _score_here(runs, inputs, plan, target, progress)
    elif len(plan.missing):
        with session(progress=progress):
            results = _score_on_ray(runs, inputs, plan, target, progress)
    return replace(_summary(plan, target, results, time.monotonic() - began), warnings=_forgetful(runs, inputs))


def _forgetful(runs: Sequence[Run], inputs: ScoringSource) -> tuple[str, ...]:
    """Name the runs that would remember losses of recent dates, had these labels."""
    found = []
    for run in runs:
        if run.config.model.remembers and not knows_label(run.config, inputs.features):
            known = f"up to {run.memory.last.astype('datetime64[D]')} only" if run.memory is not None else "of no date"
            found.append(
                f"{run.uri} knows its past losses {known}: what is scored has no labels as it learned from; "
                "give bars, or a feature table with them"
            )
    return tuple(found)


def with_concepts(run: Run, concepts: str) -> Run:
    """Return a run that is scored with another concept table; DataError if its network has no use for one."""
    data = run.config.data
    if data.concepts is None:
        raise DataError(f"--concepts {concepts}: {run.uri} was trained without concepts; leave --concepts out")
    changed = data.model_copy(update={"concepts": storage.open_location(concepts).uri})
    return replace(run, config=run.config.model_copy(update={"data": changed}))


def with_second(run: Run, bars: str) -> Run:
    """Return a run whose second window is read from other bars; DataError if it has none."""
    data = run.config.data
    if data.second is None:
        raise DataError(f"--second {bars}: {run.uri} was trained on one window; leave --second out")
    second = data.second.model_copy(update={"bars": storage.open_location(bars).uri})
    changed = data.model_copy(update={"second": second})
    return replace(run, config=run.config.model_copy(update={"data": changed}))


def checked_universe(runs: Sequence[Run], inputs: ScoringSource, min_coverage: float) -> str:
    """Name the universe that all runs score; DataError if they differ or the inputs lack what they need."""
    names = list(dict.fromkeys(run.config.data.universe for run in runs))
    if len(names) > 1:
        raise DataError(f"the runs score different universes ({', '.join(names)}); combine runs of one universe")
    for run in runs:
        if inputs.features is None and run.config.data.feature_set.type == "table":
            raise DataError(
                f"{run.uri} was trained on the columns of a feature table, which bars do not have; "
                "give --features FEATURES"
            )
    if inputs.bars is None and names[0] != ALL:
        raise DataError(
            f"the run scores universe {names[0]}, which bars define and a feature table does not; "
            "give --bars BARS beside --features"
        )
    if inputs.bars is None and min_coverage > 0:
        raise DataError(
            f"--min-coverage is {min_coverage}, but a feature table does not say who should be scored; "
            "give --bars BARS beside --features, or leave --min-coverage out"
        )
    return names[0]


def _members(inputs: ScoringSource, universe: str, plan: DatePlan) -> dict[str, int]:
    """Count who should have a score on each day, members without any bars included; nothing without bars."""
    if inputs.bars is None:
        return {}
    inputs.bars.universe(universe)  # raises if the bars lack it
    members = count_members(inputs.bars.listed(universe), plan.missing, inputs.bars.calendar)
    if len(plan.missing) and not any(members.values()):
        raise DataError(
            f"universe {universe} has no member from {plan.missing[0]} to {plan.missing[-1]}; change --start or --end"
        )
    return members


def _panels(
    runs: Sequence[Run], inputs: ScoringSource, plan: DatePlan, mapper: Mapper, progress: Progress
) -> Iterator[Panel]:
    """Build the panel of each run over the days to be scored."""
    first, last = plan.missing[0], plan.missing[-1]
    for run in runs:
        yield scoring_panel(
            run.config,
            inputs.bars,
            inputs.features,
            run.processors,
            first,
            last,
            second_processors=run.second_processors,
            run=mapper,
            progress=progress,
        )


def _score_here(
    runs: Sequence[Run], inputs: ScoringSource, plan: DatePlan, target: Target, progress: Progress
) -> list[DayResult]:
    """Score in this process."""
    device = _device(runs, gpus=torch.cuda.device_count())
    panels = _panels(runs, inputs, plan, map, progress)
    predictors = [
        Predictor(run.config, run.weights, panel, device, memory=run.memory)
        for run, panel in zip(runs, panels, strict=True)
    ]
    return _gathered(DayScorer(predictors, target).score_days(plan.missing), plan, progress)


def _score_on_ray(
    runs: Sequence[Run], inputs: ScoringSource, plan: DatePlan, target: Target, progress: Progress
) -> list[DayResult]:
    """Score in a pool of actors, one for each GPU or else for each core."""
    there = capacity()
    device = _device(runs, gpus=there.gpus)
    panels = _panels(runs, inputs, plan, on_ray, progress)
    models = tuple(_SharedModel.put(run, panel) for run, panel in zip(runs, panels, strict=True))
    task = ray.put(_PoolTask(models=models, target=target, device=device))
    gpu = device == "cuda"
    one_node = there.largest_node == there.cpus
    size = max(int(there.gpus) if gpu else min(int(there.cpus), there.cores if one_node else int(there.cpus)), 1)
    days = min(DAYS_PER_CHUNK, -(-len(plan.missing) // (CHUNKS_PER_ACTOR * size)))
    if any(run.config.model.remembers for run in runs):  # who begins a chunk computes the losses of a window before it
        days = -(-len(plan.missing) // size)
    chunks = contiguous_chunks(plan.missing, days)
    options = {"num_gpus": int(gpu), "max_restarts": RESTARTS, "max_task_retries": RESTARTS}
    actors = [_PoolScorer.options(**options).remote() for _ in range(min(size, len(chunks)))]  # type: ignore[attr-defined]

    def results() -> Iterator[DayResult]:
        with as_raised():
            for done in ActorPool(actors).map_unordered(lambda actor, days: actor.work.remote([task], days), chunks):
                yield from done

    return _gathered(results(), plan, progress)


def _device(runs: Sequence[Run], *, gpus: float) -> str:
    """Score on GPUs where there are any and no run says that it does without."""
    return "cuda" if gpus >= 1 and all(run.config.cluster.use_gpu is not False for run in runs) else "cpu"


def _gathered(results: Iterator[DayResult], plan: DatePlan, progress: Progress) -> list[DayResult]:
    """Take the results as they come; there is one for each day of the plan."""
    gathered = []
    with progress.track("scoring dates", len(plan.missing)) as advance:
        for result in results:
            gathered.append(result)
            advance(1, text=result.day)
    assert {result.day for result in gathered} == set(map(str, plan.missing)), "every day has a result"
    return gathered


def _summary(plan: DatePlan, target: Target, results: Sequence[DayResult], seconds: float) -> Scored:
    stays = set(map(str, plan.wanted)) - set(map(str, plan.missing))
    before = scored_dates(target.to, min(stays), max(stays)) if stays else {}
    others = [day for day, facts in before.items() if str(day) in stays and facts.run_id != target.run_id]
    left_out = sorted(result.day for result in results if result.rows and not result.written)
    written = sorted(result.day for result in results if result.written)
    _check_reached(target, written)
    return Scored(
        written=tuple(written),
        present=plan.present,
        from_other_runs=len(others),
        rows=sum(result.rows for result in results if result.written),
        empty=tuple(sorted(result.day for result in results if not result.rows)),
        low_coverage=tuple(left_out),
        seconds=seconds,
        run_id=target.run_id,
    )


def _check_reached(target: Target, written: Sequence[str]) -> None:
    """A folder of this machine is another one on another node: what was written there is not in the table."""
    elsewhere = len(set(written) - set(map(str, dates(target.to)))) if written else 0
    if elsewhere:
        raise DataError(
            f"{elsewhere} of {len(written)} dates were written on nodes whose disk is not this one's; "
            f"--to is {target.to}, want s3:// or a folder that all nodes share"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _SharedModel:
    """A run and its panel, arrays as references into the object store."""

    config: Config
    weights: Mapping[str, torch.Tensor]
    memory: StoredMemory | None
    panel_spec: dict[str, Any]
    panel_arrays: Mapping[str, ray.ObjectRef[Any]]

    @classmethod
    def put(cls, run: Run, panel: Panel) -> _SharedModel:
        """Put the panel into the object store."""
        spec, arrays = pack(panel)
        references = {name: ray.put(array) for name, array in arrays.items()}
        return cls(config=run.config, weights=run.weights, memory=run.memory, panel_spec=spec, panel_arrays=references)

    def predictor(self, device: str) -> Predictor:
        """Put it together; the arrays come out of the object store without a copy."""
        arrays = {name: ray.get(reference) for name, reference in self.panel_arrays.items()}
        panel = unpack(self.panel_spec, arrays)
        return Predictor(self.config, self.weights, panel, device, memory=self.memory)


@dataclass(frozen=True, slots=True, kw_only=True)
class _PoolTask:
    models: tuple[_SharedModel, ...]
    target: Target
    device: str


@ray.remote(num_cpus=1)
class _PoolScorer:
    """A process that scores chunks of days. Ray starts it again if it dies, and gives it the same chunk."""

    def __init__(self) -> None:
        self._scorer: DayScorer | None = None

    def work(self, task: list[ray.ObjectRef[_PoolTask]], days: np.ndarray) -> list[DayResult]:
        """Score days; ``task`` is in a list, so that Ray hands on the reference and not what it refers to."""
        if self._scorer is None:  # not in the constructor: an error there would lose its cause
            held: _PoolTask = ray.get(task[0])
            self._scorer = DayScorer([model.predictor(held.device) for model in held.models], held.target)
        return list(self._scorer.score_days(days))
