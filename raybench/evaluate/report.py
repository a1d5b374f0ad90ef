"""The report of an evaluation: one HTML page that needs no network, and the same content as JSON.

Equal content gives equal bytes: nothing here looks at the clock.
"""

from __future__ import annotations

import html
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from raybench.evaluate import figures
from raybench.evaluate.evaluation import Evaluation
from raybench.evaluate.signal import SIGNAL_DATES_PER_YEAR, ratio
from raybench.page.html import Card, Drawing, Page, number, percent
from raybench.page.html import to_html as page_html
from raybench.page.plain import plain, records

SCHEMA_VERSION = 1
_RULES = (
    f"Signal figures are annualised with {SIGNAL_DATES_PER_YEAR} dates a year, as Qlib does (its portfolio "
    "figures, which need a backtest, take 238). Means over dates leave out dates without labels. "
    "Instruments without a label, suspended ones for example, take no part in correlations. Returns are "
    "before costs, and nothing here says that they could have been traded."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a report shows.

    Attributes
    ----------
    evaluation : the figures
    title : the headline
    inputs : what was evaluated and with what (paths, run, versions), listed at the foot of the page
    history : the training's epochs, if its run is known
    attainable_rank_ic : the Rank IC that the signal planted in a synthetic market has by itself
    """

    evaluation: Evaluation
    title: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    history: pd.DataFrame | None = None
    attainable_rank_ic: float | None = None


def to_html(report: Report) -> str:
    """The page."""
    return page_html(
        Page(
            kind="evaluation",
            title=report.title,
            subtitle=_subtitle_html(report.evaluation),
            cards=_cards(report),
            drawings=_drawings(report),
            rules=_RULES,
            inputs=report.inputs,
        )
    )


def to_json(report: Report) -> str:
    """Everything that the page shows, as tables of numbers; NaN becomes null."""
    result = report.evaluation
    content: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "title": report.title,
        "inputs": dict(report.inputs),
        "label": result.label,
        "signal_dates_per_year": SIGNAL_DATES_PER_YEAR,
        "metrics": result.metrics,
        "attainable_rank_ic": report.attainable_rank_ic,
        "daily": records(result.daily),
        "autocorrelation": records(result.autocorrelation),
        "decay": records(result.decay),
        "monthly_rank_ic": records(figures.monthly_table(result.daily).rename(columns=str).reset_index()),
        "history": None if report.history is None else records(report.history),
    }
    return json.dumps(plain(content), indent=1, allow_nan=False)


def metrics_json(metrics: Mapping[str, float]) -> str:
    """The content of metrics.json; NaN becomes null."""
    return json.dumps(plain(dict(metrics)), indent=2, allow_nan=False) + "\n"


def _cards(report: Report) -> list[Card]:
    metrics, daily = report.evaluation.metrics, report.evaluation.daily
    rank_ic = daily["rank_ic"].dropna()
    certainty = ratio(rank_ic.to_numpy()) * math.sqrt(max(len(rank_ic), 1))
    attainable = report.attainable_rank_ic
    scored, labelled = daily["scored"].mean(), daily["labelled"].sum() / daily["scored"].sum()
    known = daily["coverage"].dropna()
    share = f"{known.mean():.1%} of the universe has a score; " if len(known) else ""
    year = SIGNAL_DATES_PER_YEAR
    return [
        Card(
            name="Rank IC",
            value=number(metrics["Rank IC"], 4),
            note="" if attainable is None else f"of {attainable:.4f} attainable",
            means="Rank correlation of scores with the returns that followed, mean over dates. "
            f"0 is chance; this mean is {number(abs(certainty), 1)} standard errors away.",
            lead=True,
        ),
        Card(
            name="Rank ICIR",
            value=number(metrics["Rank ICIR"], 3),
            means="Mean of the daily Rank IC over its standard deviation: how steady it is. Not annualised.",
            lead=True,
        ),
        Card(
            name="Long-short return a year",
            value=percent(metrics["Long-Short Ann Return"]),
            means=f"Half of what the top fifth earned more than the bottom fifth, times {year}. Before costs.",
            lead=True,
        ),
        Card(
            name="Long-short Sharpe ratio",
            value=number(metrics["Long-Short Ann Sharpe"], 2),
            means=f"Mean over standard deviation of the daily long-short return, times the root of {year}.",
            lead=True,
        ),
        Card(
            name="IC",
            value=number(metrics["IC"], 4),
            means="Linear (Pearson) correlation of scores with returns, mean over dates.",
        ),
        Card(
            name="ICIR",
            value=number(metrics["ICIR"], 3),
            means="Mean of the daily IC over its standard deviation. Not annualised.",
        ),
        Card(
            name="Dates",
            value=f"{len(daily):,}",
            means=f"{len(rank_ic):,} of them have returns to compare with. "
            f"Rank IC was above 0 on {(rank_ic > 0).mean():.0%} of these.",
        ),
        Card(
            name="Instruments a date",
            value=f"{scored:,.0f}",
            means=f"Mean over dates. {share}{labelled:.1%} of the scores have a label.",
        ),
    ]


def _drawings(report: Report) -> list[Drawing]:
    result, history = report.evaluation, report.history
    daily = result.daily
    drawings = [
        Drawing(
            name="Rank IC over time",
            means="A steady climb is a signal that keeps working; a flat or falling stretch is one that does not.",
            draw=lambda: figures.rank_ic_over_time(daily),
            wide=True,
        ),
        Drawing(
            name="Returns by score",
            means="Mean label of each fifth of the scores; bars should rise from left to right. "
            "Lines are two standard errors.",
            draw=lambda: figures.quantile_means(daily),
        ),
        Drawing(
            name="Returns by score over time",
            means="What each fifth earned more than all of them, summed up. "
            "The fan should open in the order of the scores.",
            draw=lambda: figures.quantile_paths(daily),
        ),
        Drawing(
            name="Long-short",
            means="Half of top fifth minus bottom fifth, rebalanced each date, without costs or limits.",
            draw=lambda: figures.long_short_path(daily),
        ),
        Drawing(
            name="Spread of the Rank IC",
            means="Single dates vary much more than the mean: it takes many of them to tell two models apart.",
            draw=lambda: figures.ic_distribution(daily),
        ),
        Drawing(
            name="How long scores stay",
            means="Correlation of the order of instruments with the order some dates before. "
            "The faster it falls, the more has to be traded.",
            draw=lambda: figures.score_autocorrelation(result.autocorrelation),
        ),
        Drawing(
            name="How long scores last",
            means="Rank IC when scores are acted on late, by number of dates. Delay 0 is the label itself.",
            draw=lambda: figures.ic_decay(result.decay),
        ),
        Drawing(
            name="Rank IC by month",
            means="Mean over the dates of each month, and of each year.",
            draw=lambda: figures.monthly_rank_ic(daily),
            wide=True,
        ),
        Drawing(
            name="Coverage",
            means="Instruments that have a score, and those of them whose return is known.",
            draw=lambda: figures.coverage(daily),
            wide=True,
        ),
    ]
    if history is not None and len(history):
        curves = Drawing(
            name="Training",
            means="Loss on the training and validation segments by epoch, and the Rank IC on the validation "
            "segment; the best one is marked.",
            draw=lambda: figures.training(history),
            wide=True,
        )
        drawings.insert(1, curves)
    return drawings


def _subtitle_html(result: Evaluation) -> str:
    first, last = (f"{when.day} {when:%B %Y}" for when in result.daily["datetime"].iloc[[0, -1]])
    return f"{first} to {last}, against the label <code>{html.escape(result.label)}</code> of each date."
