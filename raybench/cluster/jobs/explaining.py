"""Explaining a run: hidden states, gates, attention and gradients of one date in this process, importance on Ray where
there is much of it.

A feature or a lag is one Ray task of one CPU; network and panel lie in the object store once. Everything is
computed on CPUs: a date is small, and cuDNN does not differentiate recurrent layers in evaluation mode.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

import raybench
from raybench.cluster import choice, ran_on
from raybench.cluster.jobs.scoring import LOCAL_ROWS, read_places
from raybench.config.panel_spec import PanelSpec
from raybench.errors import DataError
from raybench.explanation.explanation import Explanation, check_named, explain_section
from raybench.explanation.importance import Importance, measure_importance
from raybench.explanation.job import REPORT, ExplanationOrigin, publish
from raybench.explanation.subject import CrossSection, Subject
from raybench.fanout import Fanout
from raybench.panel import Panel
from raybench.panel.build import scoring_panel
from raybench.progress import SILENT, Progress
from raybench.reports.cards import ResultCard
from raybench.reports.text import numbered
from raybench.runs.artifact import StoredRun, load_run
from raybench.runs.described import described
from raybench.scoring.checks import check_inputs
from raybench.scoring.gaps import HALF, begun_days, empty_days, worst
from raybench.scoring.inputs import ScoringSource, checked_universe, with_concepts, with_second
from raybench.scoring.planning import parse_day
from raybench.storage import files
from raybench.storage.claims import held
from raybench.storage.places import Kind, refuse_others
from raybench.training.needs import Needs

REPEATS = 5


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ExplanationResult(ResultCard):
    """An explanation and where it lies; ``summary`` is the content of explain.json.

    ``warnings``: what was explained with less than there should be, a line each.
    """

    explanation: Explanation
    summary: Mapping[str, Any]
    out: str
    seconds: float
    warnings: tuple[str, ...] = ()

    @property
    def report(self) -> str:
        """Address of the page."""
        return files.join(self.out, REPORT)

    def card(self) -> tuple[str, Mapping[str, Any]]:
        """What was explained, for a prompt or a notebook."""
        names = ("datetime", "instruments", "run_id")
        return "explanation", {**{name: self.summary[name] for name in names}, "report": self.report}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Dates:
    """The day that is explained, and the first and last of those of the importance."""

    day: np.datetime64
    first: np.datetime64
    last: np.datetime64

    @classmethod
    def parse(cls, date: str, start: str | None, end: str | None, calendar: np.ndarray[Any, Any]) -> _Dates:
        """Read them; DataError where the data have none of them."""
        day = np.datetime64(parse_day("--date", date))
        first = day if start is None else np.datetime64(parse_day("--start", start))
        last = day if end is None else np.datetime64(parse_day("--end", end))
        days = calendar.astype("datetime64[D]")
        there = f"the data run from {days.min()} to {days.max()}"
        if day not in days:
            raise DataError(f"--date is {day}, a date without data; {there}")
        if not ((first <= days) & (days <= last)).any():
            raise DataError(f"no date from --start {first} to --end {last}; {there}")
        return cls(day=day, first=first, last=last)


def explain(
    model: str,
    *,
    bars: str | None = None,
    features: str | None = None,
    concepts: str | None = None,
    second: str | None = None,
    date: str,
    out: str,
    start: str | None = None,
    end: str | None = None,
    instruments: Sequence[str] = (),
    repeats: int = REPEATS,
    seed: int = 0,
    local: bool | None = None,
    trust: bool = False,
    progress: Progress = SILENT,
) -> ExplanationResult:
    """Explain what the run ``model`` does on ``date``, and publish tables and a report in ``out``.

    Of several datetimes in a day the last is explained. Permutation importance is measured from ``start`` to
    ``end``, each ``date`` unless given, with ``repeats`` permutations. ``instruments`` restricts tables with a row
    per instrument to those named. ``local``: this process alone (True) or Ray (False), with equal results; by
    default little stays here, unless a cluster is named or runs here. ``concepts`` takes the place
    of the concept table that the run was trained with, and ``second`` that of the bars of its second window, which is
    not taken apart itself. ``trust`` lets the run import a network of its own.
    """
    began = time.monotonic()
    if repeats < 1:
        raise DataError(f"--repeats is {repeats}; want at least 1")
    refuse_others(out, Kind.EXPLANATION, option="--out", files=True)
    with held(out, what="explain"):
        run = load_run(model, trust=trust)
        run = run if concepts is None else with_concepts(run, concepts)
        run = run if second is None else with_second(run, second)
        inputs = ScoringSource.open(bars, features)
        checked_universe([run], inputs)
        dates = _Dates.parse(date, start, end, inputs.calendar)
        warnings = check_inputs([run], inputs, np.array([dates.day]))
        here = choice.here(local, little=_passes(run, inputs, dates, repeats) <= LOCAL_ROWS)
        with _fanout(here, read_places(run, inputs), progress) as mapper:
            panel = _panel(run, inputs, dates, mapper, progress)
            subject = Subject(
                run.config, {name: value.numpy() for name, value in run.weights.items()}, panel, run.memory
            )
            section = _last_section(subject, dates.day, run)
            check_named(instruments, section.instrument_N, section.moment)  # before what takes long
            importance = _importance(subject, dates, repeats, seed, mapper, progress)
        lacks = worst([begun_days([run], inputs), empty_days(run, panel, HALF)]).get(str(dates.day))
        if lacks is not None:
            warnings = (*warnings, f"{dates.day} ({lacks.why}): explained with less than usual")
        progress.note(f"explaining {numbered(len(section), 'instrument|instruments')}")
        explanation = explain_section(subject, section, importance)
        summary = publish(out, explanation, _origin(run, inputs, dates, seed), instruments)
    seconds = time.monotonic() - began
    return ExplanationResult(explanation=explanation, summary=summary, out=out, seconds=seconds, warnings=warnings)


@contextmanager
def _fanout(here: bool, places: Mapping[str, str], progress: Progress) -> Iterator[Fanout]:
    """What calls are spread over: this process, or Ray, which is not even loaded for the former."""
    if here:
        ran_on.here(progress)
        yield map
        return
    from raybench.cluster.fanout import fanout
    from raybench.cluster.session import session

    with session(places=places, progress=progress):
        yield fanout


def _passes(run: StoredRun, inputs: ScoringSource, dates: _Dates, repeats: int) -> int:
    """How many scores the importance takes, about: of each instrument, date, feature, lag and repeat."""
    data, needs = run.config.data, Needs.of_manifest(run.manifest, where=run.uri)
    days = np.unique(inputs.calendar.astype("datetime64[D]"))
    inside = int(((dates.first <= days) & (days <= dates.last)).sum())
    a_day = max(1 if needs is None else needs.universe_size, 1)
    return inside * a_day * repeats * ((data.num_features or len(run.features)) + data.step_len)


def _panel(run: StoredRun, inputs: ScoringSource, dates: _Dates, mapper: Fanout, progress: Progress) -> Panel:
    """Read everything from the first date that is asked for to the last."""
    return scoring_panel(
        PanelSpec.of(run.config),
        inputs.bars,
        inputs.features,
        run.processors,
        min(dates.day, dates.first),
        max(dates.day, dates.last),
        second_processors=run.second_processors,
        remembers=run.config.model.remembers,
        run=mapper,
        progress=progress,
    )


def _last_section(subject: Subject, day: np.datetime64, run: StoredRun) -> CrossSection:
    sections = list(subject.cross_sections(day, day + 1))
    if not sections:
        raise DataError(
            f"--date is {day}, on which no member of universe {run.config.data.universe} has a row; choose another"
        )
    return sections[-1]


def _importance(
    subject: Subject, dates: _Dates, repeats: int, seed: int, mapper: Fanout, progress: Progress
) -> Importance:
    return measure_importance(
        subject, dates.first, dates.last + 1, repeats=repeats, seed=seed, run=mapper, progress=progress
    )


def _origin(run: StoredRun, inputs: ScoringSource, dates: _Dates, seed: int) -> ExplanationOrigin:
    data = run.config.data
    bars = {} if inputs.bars is None else {"Bars": f"{inputs.bars.uri} (fingerprint {inputs.bars.fingerprint[:16]})"}
    features = {} if inputs.features is None else {"Feature table": inputs.features.uri}
    return ExplanationOrigin(
        model=run.uri,
        run_id=run.run_id,
        network=f"{run.config.model.type.upper()} on {data.feature_set.type}, universe {data.universe}",
        inputs={
            **described(run),
            **bars,
            **features,
            "Made": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
            "Made by": f"raybench {raybench.__version__}",
        },
        first=str(dates.first),
        last=str(dates.last),
        seed=seed,
    )
