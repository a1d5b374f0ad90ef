"""Evaluate stored scores against stored bars, or the labels of a feature table, and publish what comes out.

OUT/daily.parquet   one row per datetime, see ``Evaluation.daily``
OUT/report.html     a page that needs no network
OUT/report.json     what the page shows, as numbers
OUT/metrics.json    the figures under Qlib's names; published last
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

import raybench
from raybench.config import Config, load_config
from raybench.config.label import DEFAULT_LABEL, parse_label
from raybench.data import storage
from raybench.data.bars import Bars, open_bars
from raybench.data.feature_table import FeatureTable, open_features
from raybench.data.places import Kind, refuse_others
from raybench.errors import DataError
from raybench.evaluate.evaluation import Evaluation, evaluate_against
from raybench.evaluate.label_table import LabelTable
from raybench.evaluate.origin import Origin, Yardstick, origin_of, yardstick
from raybench.evaluate.report import Report, metrics_json, to_html, to_json
from raybench.page.cards import Card
from raybench.progress import SILENT, Progress
from raybench.score.table import read_scores, scored_dates
from raybench.train.described import described

_UNKNOWN = "which dates it learned from is not known; --model says"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Evaluated(Card):
    """An evaluation and where it lies. ``explainable``: it is of one run, which reads nothing but bars."""

    evaluation: Evaluation
    out: str
    explainable: bool = False

    @property
    def metrics(self) -> dict[str, float]:
        """The figures of metrics.json."""
        return self.evaluation.metrics

    @property
    def report(self) -> str:
        """Address of the page."""
        return storage.join(self.out, "report.html")

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
            features=None if features is None else open_features(features),
        )

    def labels(self, scores: pd.DataFrame, by: Yardstick) -> LabelTable:
        """Labels of the scored instruments."""
        if self.features is not None and by.column is not None:
            return self._of_table(self.features, scores, by.column, by.holding)
        assert self.bars is not None, "without a table there are bars"
        label = by.expression or DEFAULT_LABEL
        known = self._known(scores, self.bars.instruments, self.bars.uri)
        block = self.bars.block(known, parse_label(label).fields)
        return LabelTable.of_bars(block, label, calendar=self.bars.calendar, listed=self.bars.instruments)

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
            f"{column} of {storage.name_of(table.uri)}",
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


def evaluate_scores(
    scores: str,
    bars: str | None = None,
    *,
    features: str | None = None,
    out: str,
    config: str | Config | None = None,
    model: str | Sequence[str] | None = None,
    start: str | None = None,
    end: str | None = None,
    title: str | None = None,
    attainable_rank_ic: float | None = None,
    progress: Progress = SILENT,
) -> Evaluated:
    """Evaluate a score table against bars, and publish metrics, daily series and report in ``out``.

    ``model`` is the run the scores come from, or the runs of an ensemble: its label is used, and the dates it
    learned from are left out of the metrics and shown apart. ``config`` gives another label; with neither it is
    Qlib's. ``features`` is a table that has the label as a column. ``attainable_rank_ic`` is known of synthetic
    markets only.
    """
    refuse_others(out, Kind.EVALUATION, option="--out", files=True)
    settings = load_config(config) if config is not None else None
    truth = Truth.open(bars, features)
    with progress.track("evaluate", 4) as advance:
        table = read_scores(scores, start, end)
        models = [model] if isinstance(model, str) else list(model or ())
        origin = origin_of(models, table, scores) if models else None
        by = yardstick(origin, settings, features)
        advance(text=f"{table['datetime'].nunique()} dates")
        labels = truth.labels(table, by)
        advance(text="labels")
        found = evaluate_against(
            table,
            labels,
            start=start,
            end=end,
            coverage=_coverage(scores, start, end),
            in_sample=None if origin is None else origin.in_sample(table),
        )
        result = replace(found, warnings=(*_notes(origin, by, settings), *found.warnings))
        advance(text="metrics")
        report = Report(
            evaluation=result,
            title=title or _title(settings, origin, scores),
            inputs=_inputs(scores, truth, table, origin),
            history=origin.runs[0].history if origin is not None and len(origin.runs) == 1 else None,
            attainable_rank_ic=attainable_rank_ic,
        )
        _publish(out, report)
        advance(text="report")
    runs = () if origin is None else origin.runs
    explainable = len(runs) == 1 and runs[0].config.data.feature_set.type != "table"
    return Evaluated(evaluation=result, out=out, explainable=explainable)


def _publish(out: str, report: Report) -> None:
    daily = pa.Table.from_pandas(report.evaluation.daily, preserve_index=False)
    storage.publish_table(storage.join(out, "daily.parquet"), daily, metadata={})
    storage.publish_bytes(storage.join(out, "report.html"), to_html(report).encode())
    storage.publish_bytes(storage.join(out, "report.json"), to_json(report).encode())
    storage.publish_bytes(storage.join(out, "metrics.json"), metrics_json(report.evaluation.metrics).encode())


def _coverage(scores: str, start: str | None, end: str | None) -> pd.Series[float] | None:
    facts = scored_dates(scores, start, end)
    if all(fact.coverage is None for fact in facts.values()):
        return None
    shares = [np.nan if fact.coverage is None else fact.coverage for fact in facts.values()]
    return pd.Series(shares, index=pd.to_datetime(list(facts)), dtype=np.float64)


def _notes(origin: Origin | None, by: Yardstick, config: Config | None) -> tuple[str, ...]:
    """What is said of where the scores come from and how they are judged."""
    if origin is None:
        return by.warnings
    notes = [*origin.warnings, *by.warnings]
    learned = origin.runs[0].config.data.label
    if config is not None and config.data.label != learned:
        notes.append(f"--config has the label {config.data.label}, {origin.runs[0].uri} learned {learned}")
    return tuple(notes)


def _title(config: Config | None, origin: Origin | None, scores: str) -> str:
    said = origin.runs[0].config if origin is not None else config
    if said is None:
        return f"Scores of {storage.name_of(scores)}"
    several = f", mean of {len(origin.runs)} runs" if origin is not None and len(origin.runs) > 1 else ""
    return f"{said.model.type.upper()} on {said.data.feature_set.type}, universe {said.data.universe}{several}"


def _inputs(scores: str, truth: Truth, table: pd.DataFrame, origin: Origin | None) -> Mapping[str, str]:
    ids: list[str] = list(table["run_id"].unique()) if "run_id" in table else []
    named = ", ".join(ids[:3]) + (f" and {len(ids) - 3} more" if len(ids) > 3 else "")
    runs = () if origin is None else origin.runs
    others = {f"Run {k}": f"{run.uri} ({run.run_id})" for k, run in enumerate(runs[1:], start=2)}
    return {
        "Scores": f"{scores} ({len(table):,} rows)",
        **truth.inputs,
        **({**described(runs[0]), **others} if runs else {"Run": f"{named}, not opened ({_UNKNOWN})"} if ids else {}),
        "Made": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "Made by": f"raybench {raybench.__version__}, numpy {np.__version__}, pandas {pd.__version__}",
    }
