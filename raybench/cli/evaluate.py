"""``raybench evaluate``: how good a score table is."""

from __future__ import annotations

from typing import Annotated

import typer

from raybench.cli.output import Output, command


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("evaluate")(command(evaluate))


def evaluate(
    out: Output,
    scores: Annotated[str, typer.Option("--scores", metavar="SCORES", help="Score table to evaluate.")],
    bars: Annotated[str, typer.Option("--bars", metavar="BARS", help="Bars that the scores came from.")],
    to: Annotated[str, typer.Option("--out", metavar="DIR", help="Folder for metrics and report.")],
    config: Annotated[
        str | None,
        typer.Option("--config", metavar="CONFIG", help="Take the label from here (default: Qlib's)."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="RUN", help="Show this run's training curves in the report."),
    ] = None,
    start: Annotated[str | None, typer.Option("--start", metavar="DATE", help="First date.")] = None,
    end: Annotated[str | None, typer.Option("--end", metavar="DATE", help="Last date.")] = None,
) -> None:
    """Compute IC, Rank IC and long-short figures of scores, and write metrics.json and report.html."""
    from raybench.evaluate.job import evaluate_scores

    out.keeps(f"{scores} is untouched; the same command makes all of {to} again")
    done = evaluate_scores(
        scores, bars, out=to, config=config, model=model, start=start, end=end, progress=out.progress
    )
    daily = done.evaluation.daily
    out.summary(
        {
            **done.metrics,
            "dates": len(daily),
            "first": f"{daily['datetime'].iloc[0]:%Y-%m-%d}",
            "last": f"{daily['datetime'].iloc[-1]:%Y-%m-%d}",
            "label": done.evaluation.label,
            "report": done.report,
        },
        title=f"evaluated {scores}",
    )
