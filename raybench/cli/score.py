"""``raybench score``: per-date score tables from a trained run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from raybench.cli.output import Output, command
from raybench.cli.run_argument import (
    BarsOption,
    ConceptsOption,
    FeaturesOption,
    LocalOption,
    SecondOption,
    TrustOption,
)
from raybench.errors import DataError

if TYPE_CHECKING:
    from raybench.cluster.scoring import Scored


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("score")(command(score))


def score(
    out: Output,
    model: Annotated[list[str], typer.Option("--model", metavar="RUN", help="Run; several are combined.")],
    to: Annotated[str, typer.Option("--to", metavar="SCORES", help="Score table to write or complete.")],
    bars: BarsOption = None,
    features: FeaturesOption = None,
    concepts: ConceptsOption = None,
    second: SecondOption = None,
    start: Annotated[
        str | None, typer.Option("--start", metavar="DATE", help="First date (default: of the test segment).")
    ] = None,
    end: Annotated[str | None, typer.Option("--end", metavar="DATE", help="Last date (default: the last bar).")] = None,
    since_last: Annotated[bool, typer.Option("--since-last", help="Start after the last date scored.")] = False,
    min_coverage: Annotated[
        float,
        typer.Option("--min-coverage", metavar="X", min=0.0, max=1.0, help="Leave out dates scored for less."),
    ] = 0.0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Score dates again that are there.")] = False,
    local: LocalOption = False,
    trust: TrustOption = False,
) -> None:
    """Score every instrument of the universe, one table for each date."""
    from raybench.cluster import scoring

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
    if done.from_other_runs:
        out.warn(f"{done.from_other_runs} dates were scored by other runs before; --overwrite scores them again")
    for line in done.warnings:
        out.warn(line)
    if done.empty:
        out.warn(f"nobody can be scored on {_some(done.empty)}")
    out.summary({"scores": to, **_said(done)}, title=f"scored into {to}")
    if done.low_coverage:
        raise DataError(
            f"{_some(done.low_coverage)}: less than --min-coverage {min_coverage} of the universe can be scored, so "
            "this is left out; complete the bars or lower --min-coverage"
        )


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


def _some(days: Sequence[str]) -> str:
    """Name a few days and count the rest."""
    return ", ".join(days[:3]) + (f" and {len(days) - 3} more dates" if len(days) > 3 else "")
