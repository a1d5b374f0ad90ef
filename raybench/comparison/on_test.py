"""A finished run on its test segment: scored in memory, and judged by its own label.

What ``raybench score --start FIRST --end LAST`` and ``raybench evaluate --model RUN`` give for the first and the last
date of ``data.segments.test``, to the last bit, without a file in between. Rows and labels are read once
(:func:`open_unseen`) for all runs that share their panel and segment, and then judge any number of them
(:func:`judge`), in other processes too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from raybench.config import Config
from raybench.config.panel_spec import PanelSpec
from raybench.errors import DataError
from raybench.evaluation.evaluation import Evaluation, evaluate_against
from raybench.evaluation.job import Truth
from raybench.evaluation.label_table import LabelTable
from raybench.evaluation.origin import ScoresOrigin, yardstick
from raybench.fanout import Fanout
from raybench.panel import Panel
from raybench.panel.build import scoring_panel
from raybench.processors import FittedProcessors
from raybench.progress import SILENT, Progress
from raybench.runs.artifact import StoredRun
from raybench.scoring.checks import check_inputs
from raybench.scoring.coverage import expected, told
from raybench.scoring.gaps import Gaps, days_begun, days_without, worst
from raybench.scoring.inputs import ScoringSource, checked_universe, device_of
from raybench.scoring.job import DayResult, DayScorer, Target
from raybench.scoring.planning import DatePlan, Dates, plan_dates
from raybench.scoring.predictor import Predictor
from raybench.training.needs import Needs

MIN_COVERAGE = 0.5
"""Of those who should have a score on a date: with fewer it is left out, as ``raybench score`` leaves it out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TestResult:
    """What a run is worth on its test dates.

    scores : instrument, datetime, score (float32), sorted by datetime and instrument
    evaluation : as of :func:`raybench.evaluation.evaluation.evaluate_against`
    warnings : what was scored with less than there should be or left out, and what is odd about the figures
    """

    __test__: ClassVar[bool] = False  # no tests in here, whatever pytest makes of the name

    scores: pd.DataFrame
    evaluation: Evaluation
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Unseen:
    """What judges the scores of a test segment, beside the panel of its rows.

    days : the dates to be scored [D]. members, usual: see ``scoring.job.Target``. gaps: what days lack of their data.
    labels : of every instrument that may be scored, on the calendar of the data
    """

    days: Dates
    members: Mapping[str, int]
    usual: Mapping[str, int]
    gaps: Gaps
    labels: LabelTable


def on_test(
    run: StoredRun,
    source: ScoringSource,
    *,
    device: str | None = None,
    fanout: Fanout = map,
    progress: Progress = SILENT,
) -> TestResult:
    """Score ``run`` on the dates of its test segment and evaluate the scores.

    ``source`` is what it would be scored from; with a feature table that has the label, this is taken from there.
    ``device``: cpu or cuda, by default a GPU where there is one. DataError if the source is not of the kind that the
    run was trained on, or has no date of the segment.
    """
    return open_test(run, source, fanout=fanout, progress=progress).judge(run, device)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenTest:
    """The rows of a test segment and what judges their scores; it serves every run that ``open_unseen`` says."""

    panel: Panel
    unseen: Unseen
    warnings: tuple[str, ...]

    def judge(self, run: StoredRun, device: str | None = None) -> TestResult:
        """Score ``run`` and evaluate the scores; ``device`` as in ``on_test``."""
        found = judge(run, self.panel, self.unseen, device or device_of([run], gpus=torch.cuda.device_count()))
        return replace(found, warnings=(*self.warnings, *found.warnings))


def open_test(run: StoredRun, source: ScoringSource, *, fanout: Fanout = map, progress: Progress = SILENT) -> OpenTest:
    """Read what ``run`` is tested on; errors as of ``on_test``."""
    checked_universe([run], source)
    warnings = check_inputs([run], source, days_of_test(run.config, source))
    panel, unseen = open_unseen(
        run.config,
        source,
        processors=run.processors,
        second_processors=run.second_processors,
        needs=Needs.of_manifest(run.manifest, where=run.uri),
        fanout=fanout,
        progress=progress,
    )
    return OpenTest(panel=panel, unseen=unseen, warnings=warnings)


def open_unseen(
    config: Config,
    source: ScoringSource,
    *,
    processors: FittedProcessors,
    second_processors: FittedProcessors | None = None,
    needs: Needs | None = None,
    fanout: Fanout = map,
    progress: Progress = SILENT,
) -> tuple[Panel, Unseen]:
    """Read the rows of the test segment of ``config``, and what its scores are compared with.

    ``processors`` are those that were fitted for the training; ``needs``: what it says of its data. The panel serves
    every run that agrees on these, on the segment, and on whether its network remembers its losses.
    """
    plan = _plan(config, source)
    who = expected(source, config.data.universe, plan, 0 if needs is None else needs.universe_size)
    panel = scoring_panel(
        PanelSpec.of(config),
        source.bars,
        source.features,
        processors,
        plan.wanted[0],
        plan.wanted[-1],
        second_processors=second_processors,
        remembers=config.model.remembers,
        run=fanout,
        progress=progress,
    )
    truth = Truth(bars=source.bars, features=source.features)
    by = yardstick(None, config, None if source.features is None else source.features.uri)
    return panel, Unseen(
        days=plan.wanted,
        members=who.members,
        usual=who.usual,
        gaps=worst([days_begun([config], source), days_without(needs, panel.filled, MIN_COVERAGE)]),
        labels=truth.labels(_to_label(panel, source, plan.wanted), by),
    )


def _to_label(panel: Panel, source: ScoringSource, days: NDArray[np.datetime64]) -> pd.DataFrame:
    """Instruments with the first and the last moment that they are scored at, of which labels are read."""
    moments = source.calendar[np.isin(source.calendar.astype("datetime64[D]"), days)]
    names = pd.DataFrame({"instrument": list(panel.instruments)})
    return names.merge(pd.DataFrame({"datetime": moments[[0, -1]]}), how="cross")


def judge(run: StoredRun, panel: Panel, unseen: Unseen, device: str = "cpu") -> TestResult:
    """Score ``run`` on the rows of ``panel``, which :func:`open_unseen` read, and evaluate the scores."""
    target = Target(
        to="",
        run_id=run.run_id,
        members=unseen.members,
        usual=unseen.usual,
        gaps=unseen.gaps,
        min_coverage=MIN_COVERAGE,
    )
    kept: dict[str, dict[str, np.ndarray[Any, Any]]] = {}

    def keep(day: np.datetime64, columns: dict[str, np.ndarray[Any, Any]], facts: Mapping[str, Any]) -> None:
        kept[str(day)] = columns

    predictor = Predictor(run.config, run.weights, panel, device, memory=run.memory, fused=run.fused)
    results = list(DayScorer([predictor], target, keep).score_days(unseen.days))
    if not kept:
        why = "; ".join(_left_out(results)) or "nobody has rows there"
        raise DataError(f"{run.uri}: no date of its test segment can be scored ({why}); change data.segments.test")
    scores = _frame([kept[day] for day in sorted(kept)])
    table = scores.assign(run_id=run.run_id)
    origin = ScoresOrigin(
        runs=(run,), learned_until={run.run_id: np.datetime64(run.config.data.segments.valid[1], "D")}
    )
    evaluation = evaluate_against(scores, unseen.labels, coverage=_coverage(results), in_sample=origin.in_sample(table))
    return TestResult(scores=scores, evaluation=evaluation, warnings=(*_left_out(results), *evaluation.warnings))


def days_of_test(config: Config, source: ScoringSource) -> Dates:
    """The dates of the test segment that the data have; DataError if they have none."""
    return _plan(config, source).wanted


def _plan(config: Config, source: ScoringSource) -> DatePlan:
    first, last = config.data.segments.test
    try:
        return plan_dates(source.calendar, start=first, end=last, present=())
    except DataError:
        have = source.calendar.astype("datetime64[D]")
        raise DataError(
            f"data.segments.test ({first} to {last}) has no date of the data, which run from {have[0]} to {have[-1]}; "
            "change data.segments.test"
        ) from None


def _frame(days: Sequence[Mapping[str, np.ndarray[Any, Any]]]) -> pd.DataFrame:
    """Scores of days, in order, as one table."""
    names = ("instrument", "datetime", "score")
    columns = {name: np.concatenate([day[name] for day in days]) for name in names}
    columns["instrument"] = columns["instrument"].astype(object)
    frame = pd.DataFrame(columns)
    return frame.sort_values(["datetime", "instrument"], kind="stable", ignore_index=True)


def _coverage(results: Sequence[DayResult]) -> pd.Series[float] | None:
    written = {result.day: result.coverage for result in results if result.written}
    if all(share is None for share in written.values()):
        return None
    shares = [np.nan if share is None else share for share in written.values()]
    return pd.Series(shares, index=pd.to_datetime(list(written)), dtype=np.float64)


def _left_out(results: Sequence[DayResult]) -> tuple[str, ...]:
    low = [f"{result.day} ({result.why})" for result in results if result.low]
    return (f"{told(low)}: left out of the test, for too few can be scored",) if low else ()
