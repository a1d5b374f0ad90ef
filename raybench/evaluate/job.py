"""Evaluate stored scores against stored bars and publish what comes out.

OUT/daily.parquet   one row per datetime, see ``Evaluation.daily``
OUT/report.html     a page that needs no network
OUT/report.json     what the page shows, as numbers
OUT/metrics.json    the figures under Qlib's names; published last
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

import raybench
from raybench.config import Config, load_config, parse_config, parse_label
from raybench.config.label import DEFAULT_LABEL
from raybench.data import parquet, storage
from raybench.data.bars import Bars, open_bars
from raybench.errors import ConfigError, DataError, RunError
from raybench.evaluate.evaluation import Evaluation, LabelTable, evaluate_against
from raybench.evaluate.report import Report, metrics_json, to_html, to_json
from raybench.progress import SILENT, Progress
from raybench.score.table import read_scores, scored_dates


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """An evaluation and where it lies."""

    evaluation: Evaluation
    out: str

    @property
    def metrics(self) -> dict[str, float]:
        """The figures of metrics.json."""
        return self.evaluation.metrics

    @property
    def report(self) -> str:
        """Address of the page."""
        return storage.join(self.out, "report.html")


def evaluate_scores(
    scores: str,
    bars: str,
    *,
    out: str,
    config: str | Config | None = None,
    model: str | None = None,
    start: str | None = None,
    end: str | None = None,
    title: str | None = None,
    attainable_rank_ic: float | None = None,
    progress: Progress = SILENT,
) -> Evaluated:
    """Evaluate a score table against bars, and publish metrics, daily series and report in ``out``.

    ``config`` gives the label (default: Qlib's); ``model`` is the run the scores come from, whose training
    curves the report then shows; ``attainable_rank_ic`` is known of synthetic markets only.
    """
    settings = load_config(config) if config is not None else None
    label = DEFAULT_LABEL if settings is None else _label_of(settings)
    dataset = open_bars(bars)
    history, run_config = (None, None) if model is None else _training(model)
    with progress.track("evaluate", 4) as advance:
        table = read_scores(scores, start, end)
        coverage = _coverage(scores, start, end)
        advance(text=f"{table['datetime'].nunique()} dates")
        labels = _labels(dataset, table, label)
        advance(text="labels")
        result = evaluate_against(table, labels, start=start, end=end, coverage=coverage)
        advance(text="metrics")
        report = Report(
            evaluation=result,
            title=title or _title(settings or run_config, scores),
            inputs=_inputs(scores, dataset, table, model),
            history=history,
            attainable_rank_ic=attainable_rank_ic,
        )
        _publish(out, report)
        advance(text="report")
    return Evaluated(evaluation=result, out=out)


def _publish(out: str, report: Report) -> None:
    daily = pa.Table.from_pandas(report.evaluation.daily, preserve_index=False)
    storage.publish_table(storage.join(out, "daily.parquet"), daily, metadata={})
    storage.publish_bytes(storage.join(out, "report.html"), to_html(report).encode())
    storage.publish_bytes(storage.join(out, "report.json"), to_json(report).encode())
    storage.publish_bytes(storage.join(out, "metrics.json"), metrics_json(report.evaluation.metrics).encode())


def _label_of(config: Config) -> str:
    if "$" not in config.data.label:
        raise ConfigError(
            f"data.label is {config.data.label!r}, a column of a feature table; evaluating against bars needs an "
            f"expression such as {DEFAULT_LABEL!r}: change data.label, or leave out --config for that one"
        )
    return config.data.label


def _labels(bars: Bars, scores: pd.DataFrame, label: str) -> LabelTable:
    known = sorted(set(scores["instrument"]) & set(bars.instruments))
    if not known:
        raise DataError(
            f"{bars.uri}: has none of the scored instruments ({scores['instrument'].iloc[0]}, ...); "
            "want the bars that the scores were made from (--bars)"
        )
    return LabelTable.of_bars(bars.block(known, parse_label(label).fields), label)


def _coverage(scores: str, start: str | None, end: str | None) -> pd.Series[float] | None:
    facts = scored_dates(scores, start, end)
    if all(fact.coverage is None for fact in facts.values()):
        return None
    shares = [np.nan if fact.coverage is None else fact.coverage for fact in facts.values()]
    return pd.Series(shares, index=pd.to_datetime(list(facts)), dtype=np.float64)


def _training(model: str) -> tuple[pd.DataFrame, Config]:
    """History and configuration of a run; its weights are not needed here."""
    history, config = storage.join(model, "history.parquet"), storage.join(model, "config.yaml")
    for file in (history, config):
        if not storage.exists(file):
            raise RunError(f"{file}: is not there; want the --out of a finished `raybench train` (--model)")
    parsed = parse_config(storage.read_bytes(config).decode(), name=config)
    return parquet.read_table(history).to_pandas(), parsed


def _title(config: Config | None, scores: str) -> str:
    if config is None:
        return f"Scores of {storage.name_of(scores)}"
    return f"{config.model.type.upper()} on {config.data.feature_set.type}, universe {config.data.universe}"


def _inputs(scores: str, bars: Bars, table: pd.DataFrame, model: str | None) -> Mapping[str, str]:
    runs: list[str] = list(table["run_id"].unique()) if "run_id" in table else []
    named = ", ".join(runs[:3]) + (f" and {len(runs) - 3} more" if len(runs) > 3 else "")
    return {
        "Scores": f"{scores} ({len(table):,} rows)",
        **({"Run": named} if len(runs) else {}),
        **({"Trained in": model} if model else {}),
        "Bars": f"{bars.uri} (fingerprint {bars.fingerprint[:16]})",
        "Made by": f"raybench {raybench.__version__}, numpy {np.__version__}, pandas {pd.__version__}",
    }
