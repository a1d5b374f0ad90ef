"""``raybench explain``: what a trained network does with the instruments of one date."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from raybench.cli.output import Output, command
from raybench.cli.run_argument import TrustOption

TOP = 5  # features and lags shown in the summary


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("explain")(command(explain))


def explain(
    out: Output,
    model: Annotated[str, typer.Option("--model", metavar="RUN", help="Run to explain.")],
    date: Annotated[str, typer.Option("--date", metavar="DATE", help="Date to explain.")],
    to: Annotated[str, typer.Option("--out", metavar="DIR", help="Folder for tables and report.")],
    bars: Annotated[str | None, typer.Option("--bars", metavar="BARS", help="Bars to score from.")] = None,
    features: Annotated[
        str | None, typer.Option("--features", metavar="FEATURES", help="Feature table to score from.")
    ] = None,
    concepts: Annotated[
        str | None,
        typer.Option("--concepts", metavar="FILE", help="Concept table (default: the one the run was trained with)."),
    ] = None,
    second: Annotated[
        str | None,
        typer.Option("--second", metavar="BARS", help="Bars of the second window (default: those trained on)."),
    ] = None,
    start: Annotated[
        str | None, typer.Option("--start", metavar="DATE", help="First date of the importance (default: --date).")
    ] = None,
    end: Annotated[
        str | None, typer.Option("--end", metavar="DATE", help="Last date of the importance (default: --date).")
    ] = None,
    instruments: Annotated[
        str | None,
        typer.Option("--instruments", metavar="NAMES", help="Only these, with commas, in tables by instrument."),
    ] = None,
    repeats: Annotated[int, typer.Option("--repeats", metavar="K", min=1, help="Permutations of each part.")] = 5,
    seed: Annotated[int, typer.Option("--seed", metavar="SEED", min=0, help="Seed of the permutations.")] = 0,
    local: Annotated[bool, typer.Option("--local", help="Use this process alone, without Ray.")] = False,
    trust: TrustOption = False,
) -> None:
    """Show hidden states, gates, attention, gradients and what each feature and lag is worth."""
    from raybench.cluster import explaining

    named = [name.strip() for name in (instruments or "").split(",") if name.strip()]
    done = explaining.explain(
        model,
        bars=bars,
        features=features,
        concepts=concepts,
        second=second,
        date=date,
        out=to,
        start=start,
        end=end,
        instruments=named,
        repeats=repeats,
        seed=seed,
        local=local,
        trust=trust,
        progress=out.progress,
    )
    said = done.summary
    table = done.explanation.importance.table
    out.summary(
        {
            "explained": to,
            "run_id": said["run_id"],
            "datetime": said["datetime"],
            "instruments": said["instruments"],
            "hidden_states": list(said["hidden_states"]),
            "gates": list(said["gates"]),
            "attention": list(said["attention"]),
            "gradients_of": said["gradients_of"],
            "absent": said["absent"],
            "measure": said["importance"]["measure"],
            "rank_ic": said["importance"]["rank_ic"],
            "dates": said["importance"]["dates"],
            "seconds": round(done.seconds, 3),
            "report": done.report,
            "top_features": _top(table, "feature"),
            "top_lags": _top(table, "lag"),
        },
        title=f"explained {model}",
    )


def _top(table: Any, kind: str) -> list[dict[str, Any]]:
    rows = table[table["kind"] == kind].nlargest(TOP, "mean")
    return [dict(row) for row in rows[["name", "mean", "std"]].to_dict("records")]
