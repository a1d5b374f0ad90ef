"""``raybench explain``: what a trained network does with the instruments of one date."""

from __future__ import annotations

from collections.abc import Mapping
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
from raybench.cluster.address import check_named
from raybench.reports.text import numbered

if TYPE_CHECKING:
    from raybench.cluster.jobs.explaining import ExplanationResult

ModelOption = Annotated[str, typer.Option("--model", metavar="RUN", help="Run to explain.")]
DateOption = Annotated[str, typer.Option("--date", metavar="DATE", help="Date to explain.")]
ToOption = Annotated[str, typer.Option("--out", metavar="DIR", help="Folder for tables and report.")]
StartOption = Annotated[
    str | None, typer.Option("--start", metavar="DATE", help="First date of the importance (default: --date).")
]
EndOption = Annotated[
    str | None, typer.Option("--end", metavar="DATE", help="Last date of the importance (default: --date).")
]
InstrumentsOption = Annotated[
    str | None, typer.Option("--instruments", metavar="NAMES", help="Only these, with commas, in tables by instrument.")
]
RepeatsOption = Annotated[int, typer.Option("--repeats", metavar="K", min=1, help="Permutations of each part.")]
SeedOption = Annotated[int, typer.Option("--seed", metavar="SEED", min=0, help="Seed of the permutations.")]

TOP = 5  # features and lags shown in the summary


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("explain")(command(explain))


def explain(
    out: Output,
    model: ModelOption,
    date: DateOption,
    to: ToOption,
    bars: BarsOption = None,
    features: FeaturesOption = None,
    concepts: ConceptsOption = None,
    second: SecondOption = None,
    start: StartOption = None,
    end: EndOption = None,
    instruments: InstrumentsOption = None,
    repeats: RepeatsOption = 5,
    seed: SeedOption = 0,
    local: LocalOption = None,
    trust: TrustOption = False,
) -> None:
    """Show hidden states, gates, attention, gradients and what each feature and lag is worth."""
    if local is not True:
        check_named()
    from raybench.cluster.jobs import explaining

    named = [name.strip() for name in (instruments or "").split(",") if name.strip()]
    out.about(run=model, date=date)
    out.keeps(f"{model} is untouched; the same command makes all of {to} again")
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
    for line in done.warnings:
        out.warn(line)
    said = _said(done)
    out.summary({"explained": to, **said}, title=f"explained {model}", told=_told(said))


def _told(said: Mapping[str, Any]) -> list[str]:
    """What was found, in words."""
    lines = [
        f"{numbered(said['instruments'], 'instrument|instruments')} on "
        f"{str(said['datetime']).removesuffix(' 00:00:00')}"
    ]
    for what in ("features", "lags"):
        names = ", ".join(str(row["name"]) for row in said[f"top_{what}"])
        lines.append(f"the {what} that count most: {names}")
    return [*lines, f"report: {said['report']}"]


def _said(done: ExplanationResult) -> dict[str, Any]:
    """Take the summary out of what was found."""
    said, table = done.summary, done.explanation.importance.table
    names = ("run_id", "datetime", "instruments", "gradients_of", "absent")
    return {
        **{name: said[name] for name in names},
        **{name: list(said[name]) for name in ("hidden_states", "gates", "attention")},
        **{name: said["importance"][name] for name in ("measure", "rank_ic", "dates")},
        "seconds": round(done.seconds, 3),
        "report": done.report,
        "top_features": _top(table, "feature"),
        "top_lags": _top(table, "lag"),
    }


def _top(table: Any, kind: str) -> list[dict[str, Any]]:
    rows = table[table["kind"] == kind].nlargest(TOP, "mean")
    return [dict(row) for row in rows[["name", "mean", "std"]].to_dict("records")]
