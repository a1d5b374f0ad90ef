"""The report of an evaluation: one HTML page that needs no network, and the same content as JSON.

Equal content gives equal bytes: nothing here looks at the clock.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from raybench.evaluation import figures
from raybench.evaluation.evaluation import Evaluation
from raybench.evaluation.members import FIGURES
from raybench.metrics.annual import TRADING_DATES, Timing
from raybench.reports.html import Drawing, FigureCard, Page, Table, number, percent
from raybench.reports.html import to_html as page_html
from raybench.reports.plain import plain, records
from raybench.reports.text import numbered, to_text

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationReport:
    """What a report shows.

    Attributes
    ----------
    evaluation : the figures
    title : the headline
    inputs : what was evaluated and with what (paths, run, versions), listed at the foot of the page
    history : the training's epochs, if its run is known
    attainable_rank_ic : the Rank IC that the signal planted in a synthetic market has by itself
    members : an ensemble beside its runs, as ``compare_members`` gives it
    """

    evaluation: Evaluation
    title: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    history: pd.DataFrame | None = None
    attainable_rank_ic: float | None = None
    members: pd.DataFrame | None = None


def to_html(report: EvaluationReport) -> str:
    """The page."""
    return page_html(
        Page(
            kind="evaluation",
            title=report.title,
            subtitle=_subtitle_html(report.evaluation),
            cards=_cards(report),
            drawings=[*_members(report), *_drawings(report)],
            rules=_rules(report.evaluation.timing),
            inputs=report.inputs,
            notes=report.evaluation.warnings,
        )
    )


def to_json(report: EvaluationReport) -> str:
    """Everything that the page shows, as tables of numbers; NaN becomes null."""
    result = report.evaluation
    content: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "title": report.title,
        "inputs": dict(report.inputs),
        "label": result.label,
        "periods_per_year": result.timing.periods_per_year,
        "holding": result.timing.holding,
        "metrics": result.metrics,
        "in_sample": result.in_sample,
        "warnings": list(result.warnings),
        "attainable_rank_ic": report.attainable_rank_ic,
        "daily": records(result.daily),
        "autocorrelation": records(result.autocorrelation),
        "decay": records(result.decay),
        "monthly_rank_ic": records(figures.monthly_table(result.unseen).rename(columns=str).reset_index()),
        "members": None if report.members is None else records(report.members),
        "history": None if report.history is None else records(report.history),
    }
    return json.dumps(plain(content), indent=1, allow_nan=False)


def metrics_json(metrics: Mapping[str, float]) -> str:
    """The content of metrics.json; NaN becomes null."""
    return json.dumps(plain(dict(metrics)), indent=2, allow_nan=False) + "\n"


def _rules(timing: Timing) -> str:
    """How the figures are to be taken."""
    year, holding = timing.periods_per_year, timing.holding
    counted = (
        f"Signal figures are annualised with {year} dates a year, as Qlib does (its portfolio figures, which need a "
        "backtest, take 238). "
        if year == TRADING_DATES
        else f"Signal figures are annualised with {year:,} bars a year, as many as the calendar has. "
    )
    held = (
        f"A label is held for {holding} bars, so a year has {timing.factor:,.1f} of them one after another, and "
        f"neighbouring dates share {holding - 1} bars: standard errors count that (Newey-West, lag {holding - 1}). "
        if holding > 1
        else "Standard errors take dates as independent, since labels of neighbouring dates share no bar. "
    )
    return (
        f"{counted}{held}Means over dates leave out dates without labels. Instruments without a label, suspended "
        "ones for example, take no part in correlations. Returns are before costs, and nothing here says that they "
        "could have been traded."
    )


def _cards(report: EvaluationReport) -> list[FigureCard]:
    result = report.evaluation
    metrics, timing = result.metrics, result.timing
    certainty = abs(metrics["Rank IC"] / error) if (error := metrics["Rank IC standard error"]) else math.nan
    attainable = report.attainable_rank_ic
    bars = "daily" if timing.periods_per_year == TRADING_DATES else "single"
    returns = f"{bars} long-short return" if timing.holding == 1 else f"long-short return over {timing.holding} bars"
    return [
        FigureCard(
            name="Rank IC",
            value=number(metrics["Rank IC"], 4),
            note="" if attainable is None else f"of {attainable:.4f} attainable",
            means="Rank correlation of scores with the returns that followed, mean over dates. 0 is chance; "
            f"the standard error is {number(error, 4)}, so this is {number(certainty, 1)} of them away.",
            lead=True,
        ),
        FigureCard(
            name="Rank ICIR",
            value=number(metrics["Rank ICIR"], 3),
            means="Mean of the Rank IC of single dates over its standard deviation: how steady it is. Not annualised.",
            lead=True,
        ),
        FigureCard(
            name="Long-short return a year",
            value=percent(metrics["Long-Short Ann Return"]),
            means=f"Half of what the top fifth earned more than the bottom fifth, times {timing.factor:,.4g}. "
            "Before costs.",
            lead=True,
        ),
        FigureCard(
            name="Long-short Sharpe ratio",
            value=number(metrics["Long-Short Ann Sharpe"], 2),
            means=f"Mean over standard deviation of the {returns}, times the root of {timing.factor:,.4g}.",
            lead=True,
        ),
        FigureCard(
            name="IC",
            value=number(metrics["IC"], 4),
            means="Linear (Pearson) correlation of scores with returns, mean over dates; standard error "
            f"{number(metrics['IC standard error'], 4)}.",
        ),
        FigureCard(
            name="ICIR",
            value=number(metrics["ICIR"], 3),
            means="Mean of the IC of single dates over its standard deviation. Not annualised.",
        ),
        *_counts(result),
        *_seen(result),
    ]


def _counts(result: Evaluation) -> list[FigureCard]:
    daily = result.unseen
    rank_ic = daily["rank_ic"].dropna()
    scored, labelled = daily["scored"].mean(), share_of(daily["labelled"].sum(), daily["scored"].sum())
    known = daily["coverage"].dropna()
    share = f"{percent(known.mean())} of the universe has a score; " if len(known) else ""
    above = f"Rank IC was above 0 on {(rank_ic > 0).mean():.0%} of these." if len(rank_ic) else ""
    return [
        FigureCard(
            name="Dates",
            value=f"{len(daily):,}",
            means=f"{len(rank_ic):,} of them have a Rank IC. {above}",
        ),
        FigureCard(
            name="Instruments a date",
            value=number(scored, 0),
            means=f"Mean over dates. {share}{percent(labelled)} of the scores have a label.",
        ),
    ]


def _seen(result: Evaluation) -> list[FigureCard]:
    """What the dates in sample give, apart from all others."""
    if result.in_sample is None:
        return []
    daily = result.seen
    first, last = (_date(when) for when in daily["datetime"].iloc[[0, -1]])
    return [
        FigureCard(
            name="Rank IC in sample",
            value=number(result.in_sample["Rank IC"], 4),
            note=f"{numbered(len(daily), 'date|dates')}, {first} to {last}",
            means="The network learned from these dates or chose its epoch by them: no forecast, and in none of the "
            "other figures. Charts over time show them shaded.",
            apart=True,
        )
    ]


def _members(report: EvaluationReport) -> list[Table]:
    """An ensemble and its runs."""
    if report.members is None:
        return []
    found = report.members
    return [
        Table(
            name="Members and ensemble",
            means=f"What each run says by itself, on {numbered(int(found['dates'].iloc[0]), 'date|dates')} that all of "
            "them have: an ensemble is worth its price where it stands above its best member, or steadier than all.",
            columns=["member", *FIGURES],
            rows=[[str(row["member"]), *(number(row[name], 4) for name in FIGURES)] for _, row in found.iterrows()],
        )
    ]


def share_of(part: float, whole: float) -> float:
    """Part of a whole; of nothing it is not known."""
    return part / whole if whole else math.nan


def _drawings(report: EvaluationReport) -> list[Drawing]:
    result = report.evaluation
    daily, unseen = result.daily, result.unseen
    return [
        Drawing(
            name="Rank IC over time",
            means="A steady climb is a signal that keeps working; a flat or falling stretch is one that does not.",
            draw=lambda: figures.rank_ic_over_time(daily),
            wide=True,
        ),
        *_training(report.history),
        *_returns(result),
        Drawing(
            name="Spread of the Rank IC",
            means="Single dates vary much more than the mean: it takes many of them to tell two models apart.",
            draw=lambda: figures.ic_distribution(unseen),
        ),
        *_lasting(result),
        Drawing(
            name="Rank IC by month",
            means="Mean over the dates of each month, and of each year.",
            draw=lambda: figures.monthly_rank_ic(unseen),
            wide=True,
        ),
        Drawing(
            name="Coverage",
            means="Instruments that have a score, and those of them whose return is known.",
            draw=lambda: figures.coverage(daily),
            wide=True,
        ),
    ]


def _training(history: pd.DataFrame | None) -> list[Drawing]:
    """How the run learned, if that is known."""
    if history is None or not len(history):
        return []
    return [
        Drawing(
            name="Training",
            means="Loss on the training and validation segments by epoch, and the Rank IC on the validation "
            "segment; the best one is marked.",
            draw=lambda: figures.training(history),
            wide=True,
        )
    ]


def _returns(result: Evaluation) -> list[Drawing]:
    """What instruments earned by the order of their scores."""
    daily, unseen, holding = result.daily, result.unseen, result.timing.holding
    return [
        Drawing(
            name="Returns by score",
            means="Mean label of each fifth of the scores; bars should rise from left to right. "
            "Lines are two standard errors.",
            draw=lambda: figures.quantile_means(unseen, holding),
        ),
        Drawing(
            name="Returns by score over time",
            means="What each fifth earned more than all of them, summed up. "
            "The fan should open in the order of the scores.",
            draw=lambda: figures.quantile_paths(daily, holding),
        ),
        Drawing(
            name="Long-short",
            means="Half of top fifth minus bottom fifth, rebalanced each date, without costs or limits.",
            draw=lambda: figures.long_short_path(daily, holding),
        ),
    ]


def _lasting(result: Evaluation) -> list[Drawing]:
    """For how long scores stay as they are, and for how long they are worth something."""
    return [
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
    ]


def _subtitle_html(result: Evaluation) -> str:
    daily = result.unseen if len(result.unseen) else result.daily
    first, last = (_date(when) for when in daily["datetime"].iloc[[0, -1]])
    return f"{first} to {last}, against the label <code>{to_text(result.label)}</code> of each date."


def _date(when: pd.Timestamp) -> str:
    return f"{when.day} {when:%B %Y}"
