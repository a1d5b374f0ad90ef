"""``raybench evaluate``: how good a score table is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from raybench.cli.output import Output, command
from raybench.reports.text import numbered

if TYPE_CHECKING:
    import pandas as pd

    from raybench.evaluation.job import EvaluationResult


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
    from raybench.evaluation.job import evaluate_scores

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


def _said(done: EvaluationResult) -> dict[str, Any]:
    result = done.evaluation
    return {
        **result.metrics,
        **_span(result.unseen),
        "label": result.label,
        "periods_per_year": result.timing.periods_per_year,
        "holding": result.timing.holding,
        "in_sample": None if result.in_sample is None else {**result.in_sample, **_span(result.seen)},
        "members": None if done.members is None else done.members.to_dict("records"),
        "report": done.report,
    }


def _told(done: EvaluationResult) -> list[str]:
    """What was found, in words."""
    result, unseen, seen = done.evaluation, _span(done.evaluation.unseen), _span(done.evaluation.seen)
    rank_ic = math.nan if result.in_sample is None else result.in_sample["Rank IC"]
    in_sample = f"Rank IC {rank_ic:.4f}" if math.isfinite(rank_ic) else "no Rank IC"
    if not unseen["dates"]:
        lines = [
            f"there is no figure of dates that the run has not learned from: {_dates(seen)}, lie in its train and "
            f"valid segments or before, with {in_sample} against {result.label}"
        ]
    else:
        lines = [f"{_dates(unseen)}, against {result.label}", *_figures(done.metrics)]
        if seen["dates"]:
            lines.append(f"left out, for the run learned from them: {_dates(seen)}, with {in_sample}")
        lines += _members(done.members)
    return [*lines, f"report: {done.report}"]


def _members(members: pd.DataFrame | None) -> list[str]:
    """How the ensemble stands beside its runs."""
    if members is None:
        return []
    together, alone = members["Rank IC"].iloc[0], members["Rank IC"].iloc[1:]
    return [
        f"Rank IC of its {numbered(len(alone), 'member|members')} alone: {alone.min():.4f} to {alone.max():.4f}, mean "
        f"{alone.mean():.4f}; of the ensemble on the same dates {together:.4f}"
    ]


def _figures(metrics: Mapping[str, float]) -> list[str]:
    """The figures that are known, and the names of the main ones that are not."""

    def known(*each: tuple[str, str]) -> list[str]:
        return [text.format(metrics[name]) for text, name in each if math.isfinite(metrics[name])]

    spread = known(("standard error {:.4f}", "Rank IC standard error"), ("Rank ICIR {:.3f}", "Rank ICIR"))
    rank_ic = [f"{each} ({', '.join(spread)})" if spread else each for each in known(("Rank IC {:.4f}", "Rank IC"))]
    earned = known(
        ("long-short {:.1%} a year before costs", "Long-Short Ann Return"),
        ("Sharpe ratio {:.2f}", "Long-Short Ann Sharpe"),
    )
    lines = [", ".join(each) for each in ([*rank_ic, *known(("IC {:.4f}", "IC"))], earned) if each]
    main = {"Rank IC": "Rank IC", "IC": "IC", "Long-Short Ann Return": "long-short return"}
    absent = [word for name, word in main.items() if not math.isfinite(metrics[name])]
    return [*lines, f"these dates allow no {' and no '.join(absent)}"] if absent else lines


def _span(daily: pd.DataFrame) -> dict[str, Any]:
    first, last = (f"{daily['datetime'].iloc[at]:%Y-%m-%d}" if len(daily) else None for at in (0, -1))
    return {"dates": len(daily), "first": first, "last": last}


def _dates(span: Mapping[str, Any]) -> str:
    many = f"{numbered(span['dates'], 'date|dates')}, {span['first']} to {span['last']}"
    return many if span["dates"] > 1 else f"1 date, {span['first']}"


def _next(done: EvaluationResult, model: Sequence[str] | None, bars: str | None) -> tuple[str, ...]:
    """The command that shows what the run does on the last date of the test."""
    last = _span(done.evaluation.unseen)["last"]
    if bars is None or last is None or not model or not done.explainable:
        return ()
    return ("explain", "--model", model[0], "--bars", bars, "--date", last, "--out", "explanation")
