"""The report of an evaluation: one HTML page that needs no network, and the same content as JSON.

Figures are SVG within the page; the colours of ``figures`` become CSS variables, so the page has a light and
a dark dress. Equal content gives equal bytes: nothing here looks at the clock.
"""

from __future__ import annotations

import html
import io
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from string import Template
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from raybench.evaluate import figures
from raybench.evaluate.evaluation import Evaluation
from raybench.evaluate.signal import SIGNAL_DATES_PER_YEAR, ratio

SCHEMA_VERSION = 1

_VARIABLES = {
    figures.INK: "ink",
    figures.MUTED: "muted",
    figures.GRID: "grid",
    figures.BLUE: "blue",
    figures.RUST: "rust",
    figures.SKY: "sky",
    **{colour: f"fifth-{k + 1}" for k, colour in enumerate(figures.FIFTHS)},
}


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Card:
    name: str
    value: str
    means: str
    note: str = ""
    lead: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Panel:
    name: str
    means: str
    draw: Callable[[], Figure]
    wide: bool = False


def to_html(report: Report) -> str:
    """The page."""
    page = resources.files("raybench.evaluate").joinpath("report_page.html").read_text(encoding="utf-8")
    return Template(page).substitute(
        title=html.escape(report.title),
        subtitle=_subtitle_html(report.evaluation),
        cards="\n".join(map(_card_html, _cards(report))),
        figures="\n".join(map(_panel_html, _panels(report))),
        about=_about_html(report),
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
        "daily": _records(result.daily),
        "autocorrelation": _records(result.autocorrelation),
        "decay": _records(result.decay),
        "monthly_rank_ic": _records(figures.monthly_table(result.daily).rename(columns=str).reset_index()),
        "history": None if report.history is None else _records(report.history),
    }
    return json.dumps(_plain(content), indent=1, allow_nan=False)


def metrics_json(metrics: Mapping[str, float]) -> str:
    """The content of metrics.json; NaN becomes null."""
    return json.dumps(_plain(dict(metrics)), indent=2, allow_nan=False) + "\n"


def svg(figure: Figure) -> str:
    """A figure as an SVG element whose colours are the page's variables."""
    buffer = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "raybench"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'^<svg ([^>]*?)width="[^"]*"', r"<svg \1", text, count=1)
    text = re.sub(r'^<svg ([^>]*?)height="[^"]*"', r"<svg \1", text, count=1)
    for colour, name in _VARIABLES.items():
        text = text.replace(colour, f"var(--{name})")
    return text


def _cards(report: Report) -> list[_Card]:
    metrics, daily = report.evaluation.metrics, report.evaluation.daily
    rank_ic = daily["rank_ic"].dropna()
    certainty = ratio(rank_ic.to_numpy()) * math.sqrt(max(len(rank_ic), 1))
    attainable = report.attainable_rank_ic
    scored, labelled = daily["scored"].mean(), daily["labelled"].sum() / daily["scored"].sum()
    known = daily["coverage"].dropna()
    share = f"{known.mean():.1%} of the universe has a score; " if len(known) else ""
    year = SIGNAL_DATES_PER_YEAR
    return [
        _Card(
            name="Rank IC",
            value=_number(metrics["Rank IC"], 4),
            note="" if attainable is None else f"of {attainable:.4f} attainable",
            means="Rank correlation of scores with the returns that followed, mean over dates. "
            f"0 is chance; this mean is {_number(abs(certainty), 1)} standard errors away.",
            lead=True,
        ),
        _Card(
            name="Rank ICIR",
            value=_number(metrics["Rank ICIR"], 3),
            means="Mean of the daily Rank IC over its standard deviation: how steady it is. Not annualised.",
            lead=True,
        ),
        _Card(
            name="Long-short return a year",
            value=_percent(metrics["Long-Short Ann Return"]),
            means=f"Half of what the top fifth earned more than the bottom fifth, times {year}. Before costs.",
            lead=True,
        ),
        _Card(
            name="Long-short Sharpe ratio",
            value=_number(metrics["Long-Short Ann Sharpe"], 2),
            means=f"Mean over standard deviation of the daily long-short return, times the root of {year}.",
            lead=True,
        ),
        _Card(
            name="IC",
            value=_number(metrics["IC"], 4),
            means="Linear (Pearson) correlation of scores with returns, mean over dates.",
        ),
        _Card(
            name="ICIR",
            value=_number(metrics["ICIR"], 3),
            means="Mean of the daily IC over its standard deviation. Not annualised.",
        ),
        _Card(
            name="Dates",
            value=f"{len(daily):,}",
            means=f"{len(rank_ic):,} of them have returns to compare with. "
            f"Rank IC was above 0 on {(rank_ic > 0).mean():.0%} of these.",
        ),
        _Card(
            name="Instruments a date",
            value=f"{scored:,.0f}",
            means=f"Mean over dates. {share}{labelled:.1%} of the scores have a label.",
        ),
    ]


def _panels(report: Report) -> list[_Panel]:
    result, history = report.evaluation, report.history
    daily = result.daily
    panels = [
        _Panel(
            name="Rank IC over time",
            means="A steady climb is a signal that keeps working; a flat or falling stretch is one that does not.",
            draw=lambda: figures.rank_ic_over_time(daily),
            wide=True,
        ),
        _Panel(
            name="Returns by score",
            means="Mean label of each fifth of the scores; bars should rise from left to right. "
            "Lines are two standard errors.",
            draw=lambda: figures.quantile_means(daily),
        ),
        _Panel(
            name="Returns by score over time",
            means="What each fifth earned more than all of them, summed up. "
            "The fan should open in the order of the scores.",
            draw=lambda: figures.quantile_paths(daily),
        ),
        _Panel(
            name="Long-short",
            means="Half of top fifth minus bottom fifth, rebalanced each date, without costs or limits.",
            draw=lambda: figures.long_short_path(daily),
        ),
        _Panel(
            name="Spread of the Rank IC",
            means="Single dates vary much more than the mean: it takes many of them to tell two models apart.",
            draw=lambda: figures.ic_distribution(daily),
        ),
        _Panel(
            name="How long scores stay",
            means="Correlation of the order of instruments with the order some dates before. "
            "The faster it falls, the more has to be traded.",
            draw=lambda: figures.score_autocorrelation(result.autocorrelation),
        ),
        _Panel(
            name="How long scores last",
            means="Rank IC when scores are acted on late, by number of dates. Delay 0 is the label itself.",
            draw=lambda: figures.ic_decay(result.decay),
        ),
        _Panel(
            name="Rank IC by month",
            means="Mean over the dates of each month, and of each year.",
            draw=lambda: figures.monthly_rank_ic(daily),
            wide=True,
        ),
        _Panel(
            name="Coverage",
            means="Instruments that have a score, and those of them whose return is known.",
            draw=lambda: figures.coverage(daily),
            wide=True,
        ),
    ]
    if history is not None and len(history):
        curves = _Panel(
            name="Training",
            means="Loss on the training and validation segments by epoch, and the Rank IC on the validation "
            "segment; the best one is marked.",
            draw=lambda: figures.training(history),
            wide=True,
        )
        panels.insert(1, curves)
    return panels


def _card_html(card: _Card) -> str:
    note = f"<small>{html.escape(card.note)}</small>" if card.note else ""
    return (
        f'<article class="card{" lead" if card.lead else ""}"><h2>{html.escape(card.name)}</h2>'
        f'<div class="value">{html.escape(card.value)}{note}</div><p>{html.escape(card.means)}</p></article>'
    )


def _panel_html(panel: _Panel) -> str:
    name, means = html.escape(panel.name), html.escape(panel.means)
    return (
        f"<figure{' class=wide' if panel.wide else ''}><figcaption><h2>{name}</h2><p>{means}</p></figcaption>"
        f'<div class="drawing" role="img" aria-label="{name}">{svg(panel.draw())}</div></figure>'
    )


def _subtitle_html(result: Evaluation) -> str:
    first, last = (f"{when.day} {when:%B %Y}" for when in result.daily["datetime"].iloc[[0, -1]])
    return f"{first} to {last}, against the label <code>{html.escape(result.label)}</code> of each date."


def _about_html(report: Report) -> str:
    rules = (
        f"Signal figures are annualised with {SIGNAL_DATES_PER_YEAR} dates a year, as Qlib does (its portfolio "
        "figures, which need a backtest, take 238). Means over dates leave out dates without labels. "
        "Instruments without a label, suspended ones for example, take no part in correlations. Returns are "
        "before costs, and nothing here says that they could have been traded."
    )
    items = "".join(f"<dt>{html.escape(k)}</dt><dd>{html.escape(v)}</dd>" for k, v in report.inputs.items())
    return f"<p>{html.escape(rules)}</p><dl>{items}</dl>"


def _number(value: float, digits: int) -> str:
    return f"{value:.{digits}f}".replace("-", "\N{MINUS SIGN}") if math.isfinite(value) else "n/a"


def _percent(value: float) -> str:
    return f"{value:.1%}".replace("-", "\N{MINUS SIGN}") if math.isfinite(value) else "n/a"


def _records(frame: pd.DataFrame) -> dict[str, list[Any]]:
    return {str(name): frame[name].tolist() for name in frame}


def _plain(value: Any) -> Any:
    """Only what JSON knows."""
    match value:
        case Mapping():
            return {str(k): _plain(v) for k, v in value.items()}
        case list() | tuple():
            return [_plain(v) for v in value]
        case pd.Timestamp():
            return value.isoformat()
        case float() | np.floating():
            return float(value) if math.isfinite(value) else None
        case np.integer():
            return int(value)
        case _:
            return value
