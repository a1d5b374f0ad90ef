"""``raybench score``: per-date score tables from a trained run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from raybench.cli.next_command import after_score
from raybench.cli.output import Output, command
from raybench.cli.progress_bars import duration
from raybench.cli.run_argument import (
    BarsOption,
    ConceptsOption,
    FeaturesOption,
    SecondOption,
    TrustOption,
)
from raybench.cli.startup import loading
from raybench.cluster.address import check_named

if TYPE_CHECKING:
    from raybench.cluster.scoring import Scored

REFUSED = 3  # exit code: all is written but dates that too few instruments can be scored on


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("score")(command(score))


def score(
    out: Output,
    model: Annotated[
        list[str], typer.Option("--model", metavar="RUN", help="Run, or folder of seeds; several are combined.")
    ],
    to: Annotated[str, typer.Option("--to", metavar="SCORES", help="Score table to write or complete.")],
    bars: BarsOption = None,
    features: FeaturesOption = None,
    concepts: ConceptsOption = None,
    second: SecondOption = None,
    start: Annotated[
        str | None, typer.Option("--start", metavar="DATE", help="First date (default: of the test segment).")
    ] = None,
    end: Annotated[str | None, typer.Option("--end", metavar="DATE", help="Last date (default: the last bar).")] = None,
    since_last: Annotated[
        bool, typer.Option("--since-last", help="Start after the last date scored, and at refused ones.")
    ] = False,
    min_coverage: Annotated[
        float,
        typer.Option(
            "--min-coverage",
            metavar="X",
            min=0.0,
            max=1.0,
            help="Leave out dates on which a smaller share of the universe can be scored (exit code 3).",
        ),
    ] = 0.5,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Score dates again that are there.")] = False,
    local: Annotated[
        bool | None,
        typer.Option("--local/--ray", help="This process alone, or Ray (default: Ray for many dates)."),
    ] = None,
    trust: TrustOption = False,
) -> None:
    """Score every instrument of the universe, one table for each date."""
    if local is not True:
        check_named()
    with loading():
        from raybench.cluster import scoring
        from raybench.score.coverage import told

    out.keeps(f"the dates written so far stay in {to}, each whole; the same command does the rest")
    done = scoring.score(
        model,
        bars=bars,
        features=features,
        concepts=concepts,
        second=second,
        to=to,
        start=start,
        end=end,
        since_last=since_last,
        min_coverage=min_coverage,
        overwrite=overwrite,
        local=local,
        trust=trust,
        progress=out.progress,
    )
    for line in done.warnings:
        out.warn(line)
    if done.empty:
        out.warn(f"nobody can be scored on {told(done.empty)}")
    if done.refused:
        out.warn(_refusal(done, min_coverage))
    title = f"scored into {to}" if done.written or not done.refused else f"nothing scored into {to}"
    then = after_score(to, model, bars, features, holds_any=bool(done.written or done.present))
    out.summary({"scores": to, **_said(done)}, title=title, told=_told(done), then=then)
    if done.refused:
        raise typer.Exit(REFUSED)


def _refusal(done: Scored, min_coverage: float) -> str:
    """Name the dates that were left out, and what becomes of them."""
    from raybench.score.coverage import told

    days = [f"{day} ({facts['scored']} of {facts['usual']} instruments)" for day, facts in done.refused.items()]
    return (
        f"{told(days)}: coverage is below --min-coverage {min_coverage:g}, so nothing is published; the next run comes "
        "back to it when the bars are there (--min-coverage 0 publishes it as it is)"
    )


def _told(done: Scored) -> list[str]:
    """What was scored, in words."""
    many, lines = len(done.written), []
    if many:
        span = done.written[0] if many == 1 else f"{done.written[0]} to {done.written[-1]}"
        days = f"{many:,} date{'s' if many > 1 else ''}"
        lines.append(f"{days} written, {span}: {done.rows:,} scores in {duration(done.seconds)}")
    if done.present:
        lines.append(f"{done.present:,} date{'s were' if done.present > 1 else ' was'} there before")
    return [*lines, f"by the run {done.run_id}"]


def _said(done: Scored) -> dict[str, Any]:
    """Take the summary out of what was done."""
    return {
        "run_id": done.run_id,
        "dates_written": len(done.written),
        "first": done.written[0] if done.written else None,
        "last": done.written[-1] if done.written else None,
        "dates_present_before": done.present,
        "rows": done.rows,
        "empty": list(done.empty),
        "low_coverage": list(done.low_coverage),
        "seconds": round(done.seconds, 3),
    }
