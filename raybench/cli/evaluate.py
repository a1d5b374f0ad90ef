"""``raybench evaluate``: how good a score table is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from raybench.cli.output import Output, command

if TYPE_CHECKING:
    import pandas as pd

    from raybench.evaluate.job import Evaluated


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("evaluate")(command(evaluate))


def evaluate(
    out: Output,
    scores: Annotated[str, typer.Option("--scores", metavar="SCORES", help="Score table to evaluate.")],
    to: Annotated[str, typer.Option("--out", metavar="DIR", help="Folder for metrics and report.")],
    bars: Annotated[str | None, typer.Option("--bars", metavar="BARS", help="Bars that the scores came from.")] = None,
    features: Annotated[
        str | None, typer.Option("--features", metavar="TABLE", help="Take the label from a column of this table.")
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model", metavar="RUN", help="Run the scores came from: its label, its test dates; several: an ensemble."
        ),
    ] = None,
    config: Annotated[
        str | None,
        typer.Option("--config", metavar="CONFIG", help="Take the label from here (default: the run's, else Qlib's)."),
    ] = None,
    start: Annotated[str | None, typer.Option("--start", metavar="DATE", help="First date.")] = None,
    end: Annotated[str | None, typer.Option("--end", metavar="DATE", help="Last date.")] = None,
) -> None:
    """Compute IC, Rank IC and long-short figures of scores, and write metrics.json and report.html."""
    from raybench.evaluate.job import evaluate_scores

    done = evaluate_scores(
        scores,
        bars,
        features=features,
        out=to,
        config=config,
        model=model,
        start=start,
        end=end,
        progress=out.progress,
    )
    for line in done.warnings:
        out.warn(line)
    out.summary(_said(done), title=f"evaluated {scores}", told=_told(done), then=_next(done, model, bars))


def _said(done: Evaluated) -> dict[str, Any]:
    result = done.evaluation
    return {
        **result.metrics,
        **_span(result.unseen),
        "label": result.label,
        "periods_per_year": result.timing.periods_per_year,
        "holding": result.timing.holding,
        "in_sample": None if result.in_sample is None else {**result.in_sample, **_span(result.seen)},
        "report": done.report,
    }


def _told(done: Evaluated) -> list[str]:
    """What was found, in words."""
    result, metrics = done.evaluation, done.metrics
    span = _span(result.unseen)
    rank_ic, error = metrics["Rank IC"], metrics["Rank IC standard error"]
    lines = [
        f"{_dates(span)}, against {result.label}"
        if span["dates"]
        else f"no date that the run has not learned from; label {result.label}",
        f"Rank IC {_number(rank_ic, '.4f')} (standard error {_number(error, '.4f')}, Rank ICIR "
        f"{_number(metrics['Rank ICIR'], '.3f')}), IC {_number(metrics['IC'], '.4f')}",
        f"long-short {_number(metrics['Long-Short Ann Return'], '.1%')} a year before costs, Sharpe ratio "
        f"{_number(metrics['Long-Short Ann Sharpe'], '.2f')}",
    ]
    if result.in_sample is not None:
        seen = _span(result.seen)
        lines.append(
            f"left out, for the run learned from them: {_dates(seen)}, with Rank IC "
            f"{_number(result.in_sample['Rank IC'], '.4f')}"
        )
    return [*lines, f"report: {done.report}"]


def _span(daily: pd.DataFrame) -> dict[str, Any]:
    first, last = (f"{daily['datetime'].iloc[at]:%Y-%m-%d}" if len(daily) else None for at in (0, -1))
    return {"dates": len(daily), "first": first, "last": last}


def _dates(span: Mapping[str, Any]) -> str:
    many = f"{span['dates']:,} dates, {span['first']} to {span['last']}"
    return many if span["dates"] > 1 else f"1 date, {span['first']}"


def _next(done: Evaluated, model: Sequence[str] | None, bars: str | None) -> tuple[str, ...]:
    """The command that shows what the run does on the last date of the test."""
    last = _span(done.evaluation.unseen)["last"]
    if bars is None or last is None or not model or not done.explainable:
        return ()
    return ("explain", "--model", model[0], "--bars", bars, "--date", last, "--out", "explanation")


def _number(value: float, how: str) -> str:
    return format(value, how) if math.isfinite(value) else "not known"
