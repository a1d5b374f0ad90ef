"""Evaluate stored scores against stored bars, or the labels of a feature table, and publish what comes out.

OUT/daily.parquet   one row per datetime, see ``Evaluation.daily``
OUT/report.html     a page that needs no network
OUT/report.json     what the page shows, as numbers
OUT/metrics.json    the figures under Qlib's names; published last
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

import raybench
from raybench.config import Config, load_config
from raybench.config.data.label import DEFAULT_LABEL, parse_label
from raybench.config.load import Source
from raybench.errors import DataError
from raybench.evaluation.evaluation import LAGS, Evaluation, also_said, evaluate_against
from raybench.evaluation.label_table import LabelTable
from raybench.evaluation.matching import several_runs
from raybench.evaluation.members import compare_members
from raybench.evaluation.origin import ScoresOrigin, Yardstick, origin_of, yardstick
from raybench.evaluation.report import EvaluationReport, metrics_json, to_html, to_json
from raybench.feature_sets.table import FeatureTable, open_features
from raybench.market.bars import BarBlock, Bars, open_bars
from raybench.progress import SILENT, Progress
from raybench.reports.cards import ResultCard
from raybench.reports.text import numbered
from raybench.runs.artifact import StoredRun
from raybench.runs.described import described
from raybench.scoring.members import read_members
from raybench.scoring.table import DateFacts, read_with_facts
from raybench.storage import files
from raybench.storage.claims import held
from raybench.storage.places import Kind, refuse_others

_UNKNOWN = "which dates it learned from is not known; --model says"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class EvaluationResult(ResultCard):
    """An evaluation and where it lies. ``explainable``: it is of one run, which reads nothing but bars.

    ``members``: an ensemble beside its runs, as ``compare_members`` gives it; None where these are not known.
    """

    evaluation: Evaluation
    out: str
    explainable: bool = False
    members: pd.DataFrame | None = None

    @property
    def metrics(self) -> dict[str, float]:
        """The figures of metrics.json."""
        return self.evaluation.metrics

    @property
    def report(self) -> str:
        """Address of the page."""
        return files.join(self.out, "report.html")

    def card(self) -> tuple[str, Mapping[str, Any]]:
        """The figures, for a prompt or a notebook."""
        title, facts = self.evaluation.card()
        return title, {**facts, "report": self.report}

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader of the figures should know, a line each."""
        return self.evaluation.warnings


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What scores are compared with: bars, or a feature table with the label, on the calendar of bars if there are."""

    bars: Bars | None
    features: FeatureTable | None

    @classmethod
    def open(cls, bars: str | None, features: str | None) -> Truth:
        """Open what is given."""
        if bars is None and features is None:
            raise DataError("nothing to compare scores with; give --bars BARS, or --features TABLE with the label")
        return cls(
            bars=None if bars is None else open_bars(bars),
            features=None if features is None else open_features(features).settled(),
        )

    def labels(self, scores: pd.DataFrame, by: Yardstick) -> LabelTable:
        """Labels of the scored instruments."""
        if self.features is not None and by.column is not None:
            return self._of_table(self.features, scores, by.column, by.holding)
        assert self.bars is not None, "without a table there are bars"
        label = by.expression or DEFAULT_LABEL
        known = self._known(scores, self.bars.instruments, self.bars.uri)
        return labels_of_bars(self.bars, known, scores, label)

    def _of_table(self, table: FeatureTable, scores: pd.DataFrame, column: str, holding: int) -> LabelTable:
        if column not in table.readable:
            has = ", ".join(table.readable[:8])
            raise DataError(f"{table.uri}: no column {column}, the label to judge by; it has {has} (--config names it)")
        listed = table.instruments()
        rows = table.read([column], self._known(scores, listed, table.uri))
        return LabelTable.of_rows(
            rows["instrument"].to_numpy(),
            rows["datetime"].to_numpy().astype("datetime64[us]"),
            rows[column].to_numpy(),
            f"{column} of {files.name_of(table.uri)}",
            holding=holding,
            calendar=table.dates() if self.bars is None else self.bars.calendar,
            listed=listed,
        )

    @staticmethod
    def _known(scores: pd.DataFrame, listed: Sequence[str], uri: str) -> list[str]:
        known = sorted(set(scores["instrument"]) & set(listed))
        if not known:
            raise DataError(
                f"{uri}: has none of the scored instruments ({scores['instrument'].iloc[0]}, ...), but "
                f"{', '.join(listed[:2])}, ...; want what the scores were made from (--bars, --features)"
            )
        return known

    @property
    def inputs(self) -> dict[str, str]:
        """Names and fingerprints for the foot of the page."""
        named = {"Bars": self.bars, "Labels": self.features}
        return {
            name: f"{each.uri} (fingerprint {each.fingerprint[:16]})"
            for name, each in named.items()
            if each is not None
        }


def labels_of_bars(bars: Bars, instruments: Sequence[str], scores: pd.DataFrame, label: str) -> LabelTable:
    """Labels of instruments on the scored dates and those on which they are still compared, of no other rows.

    Of all rows where these do not tell up to when labels are known, which decides who has to have one.
    """
    expression, calendar_T = parse_label(label), bars.calendar
    ends = scores["datetime"].agg(["min", "max"]).to_numpy().astype("datetime64[us]")
    first = max(int(np.searchsorted(calendar_T, ends[0])) - expression.reach, 0)
    stop = int(np.searchsorted(calendar_T, ends[1], side="right")) + LAGS + expression.horizon

    def table(block: BarBlock) -> LabelTable:
        return LabelTable.of_bars(block, label, calendar=calendar_T, listed=bars.instruments)

    if first < len(calendar_T) and (first or stop < len(calendar_T)):
        within = calendar_T[[first, min(stop, len(calendar_T)) - 1]]
        some = table(bars.block(instruments, expression.fields, start=within[0], end=within[1]))
        known = some.dates_L[np.isfinite(some.label_LN).any(axis=1)]
        if len(known) and (stop >= len(calendar_T) or known[-1] >= ends[1]):
            return some
    return table(bars.block(instruments, expression.fields))


def evaluate_scores(
    scores: str,
    bars: str | None = None,
    *,
    features: str | None = None,
    out: str,
    config: Source | None = None,
    model: str | Sequence[str] | None = None,
    origin: ScoresOrigin | None = None,
    start: str | None = None,
    end: str | None = None,
    title: str | None = None,
    attainable_rank_ic: float | None = None,
    shown_as: Callable[[str], str] = str,
    progress: Progress = SILENT,
) -> EvaluationResult:
    """Evaluate a score table against bars, and publish metrics, daily series and report in ``out``.

    ``model`` is the run the scores come from, or the runs of an ensemble: its label is used, and the dates it
    learned from are left out of the metrics and shown apart; ``origin`` says the same of scores whose runs are known
    otherwise. ``config`` gives another label; with neither it is Qlib's. ``features`` is a table that has the label as
    a column. ``attainable_rank_ic`` is known of synthetic markets only. ``shown_as`` writes the addresses in warnings
    and on the page as their reader knows them. DataError if a living process writes ``out``.
    """
    refuse_others(out, Kind.EVALUATION, option="--out", files=True)
    with held(out, what="evaluate"):
        settings = load_config(config) if config is not None else None
        truth = Truth.open(bars, features)
        with progress.track("evaluate", 4) as advance:
            odd: list[str] = []
            table, facts = read_with_facts(scores, start, end, warn=odd.append)
            if truth.features is not None:
                odd += truth.features.row_dates.told
            models = [model] if isinstance(model, str) else list(model or ())
            origin = origin_of(models, table, scores) if models else origin
            by = yardstick(origin, settings, features)
            advance(text=numbered(table["datetime"].nunique(), "date|dates"))
            labels = truth.labels(table, by)
            advance(text="labels")
            seen = None if origin is None else origin.in_sample(table)
            with also_said(odd):
                found = evaluate_against(table, labels, start=start, end=end, coverage=_coverage(facts), in_sample=seen)
            members = _members(scores, table, labels, found, origin)
            told = (*odd, *_notes(table, origin, by, settings), *found.warnings)
            result = replace(found, warnings=tuple(map(shown_as, told)))
            advance(text="metrics")
            alone = _only_run(origin)
            report = EvaluationReport(
                evaluation=result,
                title=title or _title(settings, origin, scores),
                inputs={name: shown_as(text) for name, text in _inputs(scores, truth, table, origin).items()},
                history=None if alone is None else alone.history,
                attainable_rank_ic=attainable_rank_ic,
                members=members,
            )
            _publish(out, report)
            advance(text="report")
    explainable = alone is not None and alone.config.data.feature_set.type != "table"
    return EvaluationResult(evaluation=result, out=out, explainable=explainable, members=members)


def _only_run(origin: ScoresOrigin | None) -> StoredRun | None:
    """The run of scores that are of no other."""
    return origin.runs[0] if origin is not None and len(origin.runs) == 1 else None


def _members(
    scores: str, table: pd.DataFrame, labels: LabelTable, found: Evaluation, origin: ScoresOrigin | None
) -> pd.DataFrame | None:
    """An ensemble beside its runs, where what they said lies beside the scores."""
    if "run_id" not in table:
        return None
    days = [np.datetime64(day, "D") for day in table["datetime"].dt.normalize().unique()]
    said = read_members(scores, [str(day) for day in days], list(table["run_id"].unique()))
    if said is None:
        return None
    runs = () if origin is None else origin.runs
    parts = [run.uri.split("/") for run in runs]
    shared = len(
        list(itertools.takewhile(lambda each: len(set(each)) == 1, zip(*(p[:-1] for p in parts), strict=False)))
    )
    named = {run.run_id: "/".join(each[shared:]) for run, each in zip(runs, parts, strict=True)}
    return compare_members(said, labels, found, named)


def _publish(out: str, report: EvaluationReport) -> None:
    files.remove(files.join(out, "metrics.json"))  # what is beside it is of other scores from here on
    files.publish_bytes(
        files.join(out, "report.html"), to_html(report).encode()
    )  # says whose the folder is, see places
    daily = pa.Table.from_pandas(report.evaluation.daily, preserve_index=False)
    files.publish_table(files.join(out, "daily.parquet"), daily, metadata={})
    files.publish_bytes(files.join(out, "report.json"), to_json(report).encode())
    files.publish_bytes(files.join(out, "metrics.json"), metrics_json(report.evaluation.metrics).encode())


def _coverage(facts: Mapping[date, DateFacts]) -> pd.Series[float] | None:
    if all(fact.coverage is None for fact in facts.values()):
        return None
    shares = [np.nan if fact.coverage is None else fact.coverage for fact in facts.values()]
    return pd.Series(shares, index=pd.to_datetime(list(facts)), dtype=np.float64)


def _notes(table: pd.DataFrame, origin: ScoresOrigin | None, by: Yardstick, config: Config | None) -> tuple[str, ...]:
    """What is said of where the scores come from and how they are judged."""
    if origin is None:
        return (*several_runs(table), *by.warnings)
    notes = [*origin.warnings, *by.warnings]
    learned = origin.runs[0].config.data.label
    if config is not None and config.data.label != learned:
        notes.append(f"--config has the label {config.data.label}, {origin.runs[0].uri} learned {learned}")
    return tuple(notes)


def _title(config: Config | None, origin: ScoresOrigin | None, scores: str) -> str:
    said = origin.runs[0].config if origin is not None else config
    if said is None:
        return f"Scores of {files.name_of(scores)}"
    several = f", mean of {len(origin.runs)} runs" if origin is not None and len(origin.runs) > 1 else ""
    return f"{said.model.type.upper()} on {said.data.feature_set.type}, universe {said.data.universe}{several}"


def _inputs(scores: str, truth: Truth, table: pd.DataFrame, origin: ScoresOrigin | None) -> Mapping[str, str]:
    ids: list[str] = list(table["run_id"].unique()) if "run_id" in table else []
    named = ", ".join(ids[:3]) + (f" and {len(ids) - 3} more" if len(ids) > 3 else "")
    runs = () if origin is None else origin.runs
    others = {f"Run {k}": f"{run.uri} ({run.run_id})" for k, run in enumerate(runs[1:], start=2)}
    return {
        "Scores": f"{scores} ({numbered(len(table), 'row|rows')})",
        **truth.inputs,
        **({**described(runs[0]), **others} if runs else {"Run": f"{named}, not opened ({_UNKNOWN})"} if ids else {}),
        "Made": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "Made by": f"raybench {raybench.__version__}, numpy {np.__version__}, pandas {pd.__version__}",
    }
