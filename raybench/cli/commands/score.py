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
from raybench.reports.text import numbered

if TYPE_CHECKING:
    from raybench.scoring.result import ScoringResult

ModelOption = Annotated[
    list[str], typer.Option("--model", metavar="RUN", help="Run, folder of seeds, or bench; several are combined.")
]
ToOption = Annotated[str, typer.Option("--to", metavar="SCORES", help="Score table to write or complete.")]
StartOption = Annotated[
    str | None, typer.Option("--start", metavar="DATE", help="First date (default: of the test segment).")
]
EndOption = Annotated[str | None, typer.Option("--end", metavar="DATE", help="Last date (default: the last bar).")]
SinceLastOption = Annotated[
    bool, typer.Option("--since-last", help="Start after the last date scored, and at refused ones.")
]
CoverageOption = Annotated[
    float,
    typer.Option(
        "--min-coverage",
        metavar="X",
        min=0.0,
        max=1.0,
        help="Leave out dates on which a smaller share of the universe can be scored (the newest: exit code 3).",
    ),
]
CombineOption = Annotated[
    str, typer.Option("--combine", metavar="HOW", help="Several runs: mean of standardised scores, or of ranks.")
]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Score dates again that are there.")]
StaleOption = Annotated[
    bool, typer.Option("--stale", help="Score those dates again whose rows are others now, and no more.")
]
WhereOption = Annotated[
    bool | None, typer.Option("--local/--ray", help="This process alone, or Ray (default: Ray for many dates).")
]

REFUSED = 3  # exit code: the newest date is not written, for too few instruments can be scored on it


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("score")(command(score))


def score(
    out: Output,
    model: ModelOption,
    to: ToOption,
    bars: BarsOption = None,
    features: FeaturesOption = None,
    concepts: ConceptsOption = None,
    second: SecondOption = None,
    start: StartOption = None,
    end: EndOption = None,
    since_last: SinceLastOption = False,
    min_coverage: CoverageOption = 0.5,
    combine: CombineOption = "scores",
    overwrite: OverwriteOption = False,
    stale: StaleOption = False,
    local: WhereOption = None,
    trust: TrustOption = False,
) -> None:
    """Score every instrument of the universe, one table for each date."""
    if local is not True:
        check_named()
    with loading():
        from raybench.cluster.jobs import scoring

    out.about(run=", ".join(model))
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
        stale=stale,
        min_coverage=min_coverage,
        overwrite=overwrite,
        combine=combine,
        local=local,
        trust=trust,
        progress=out.progress,
    )
    for line in done.warnings:
        out.warn(line)
    then = after_score(to, model, bars, features, holds_any=bool(done.written or done.present))
    out.summary({"scores": to, **_said(done)}, title=f"{_title(done)} {to}", told=_told(done), then=then)
    if done.newest_refused:
        raise typer.Exit(REFUSED)


def _title(done: ScoringResult) -> str:
    if done.written:
        return "scored into"
    return "nothing scored into" if done.refused or done.empty else "nothing new to score for"


def _told(done: ScoringResult) -> list[str]:
    """What was scored, in words."""
    many, lines = len(done.written), []
    if many:
        span = done.written[0] if many == 1 else f"{done.written[0]} to {done.written[-1]}"
        days = f"{many:,} date{'s' if many > 1 else ''}"
        lines.append(f"{days} written, {span}: {numbered(done.rows, 'score|scores')} in {duration(done.seconds)}")
    if done.twins:
        lines.append(f"{len(done.twins):,} of them another process had published by then, the very same")
    if done.present:
        lines.append(f"{done.present:,} date{'s were' if done.present > 1 else ' was'} there before")
    if done.newest is None:
        return [*lines, f"by the run {done.run_id}"]
    day, run_id = done.newest
    return [*lines, f"its newest date is {day}, by the run {run_id}"]


def _said(done: ScoringResult) -> dict[str, Any]:
    """Take the summary out of what was done."""
    return {
        "run_id": done.run_id,
        "dates_written": len(done.written),
        "first": done.written[0] if done.written else None,
        "last": done.written[-1] if done.written else None,
        "dates_present_before": done.present,
        **({} if done.newest is None else {"newest": done.newest[0], "newest_run_id": done.newest[1]}),
        "rows": done.rows,
        "empty": list(done.empty),
        "low_coverage": list(done.low_coverage),
        "refused": [{"date": day, **facts} for day, facts in done.refused.items()],
        "newest_refused": done.newest_refused,
        "seconds": round(done.seconds, 3),
    }
