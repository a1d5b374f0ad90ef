"""``raybench features``: a feature table from a bars dataset."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from raybench.cli.next_command import after_features
from raybench.cli.output import Output, command
from raybench.cli.run_argument import LocalOption
from raybench.cluster.address import check_named
from raybench.config import Config
from raybench.config.data.alpha_names import ALPHA360_FIELDS
from raybench.reports.text import numbered


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("features")(command(features))


NAMED = 5  # features in a line for people


def described(config: Config, names: Sequence[str] | None) -> dict[str, Any]:
    """How many features a step has, and which.

    ``names`` are the columns that the network is given, None where nobody can know them.
    """
    if config.data.feature_set.type == "alpha360":  # its columns are the lags of these
        names = ALPHA360_FIELDS
    if names is None:
        return {"num_features": None, "features": None}
    return {"num_features": len(names), "features": list(names)}


def first_few(names: Sequence[str]) -> str:
    """Name the first few features, for people."""
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


def features(
    out: Output,
    bars: Annotated[str, typer.Option("--bars", help="Bars dataset (of raybench import).", metavar="BARS")],
    to: Annotated[str, typer.Option("--to", help="Folder or s3:// address to write.", metavar="FEATURES")],
    set: Annotated[str, typer.Option("--set", help="alpha158, alpha360 or alpha158,alpha360.")] = "alpha158",
    instruments: Annotated[
        str | None,
        typer.Option("--instruments", help="Keep the rows of a universe's members.", metavar="UNIVERSE"),
    ] = None,
    start: Annotated[str | None, typer.Option("--start", help="First date to keep.")] = None,
    end: Annotated[str | None, typer.Option("--end", help="Last date to keep.")] = None,
    local: LocalOption = None,
) -> None:
    """Compute Alpha158 and Alpha360 of every bar, as a Ray Data job where there are many, and write them to Parquet.

    Features look back over an instrument's whole history; --instruments, --start and --end choose rows only.
    """
    if local is not True:
        check_named()
    from raybench.cluster.jobs.features import write_features as build

    out.keeps(f"what is finished of {to} stays; the same command does the rest")
    began = time.monotonic()
    table = build(bars, set, to, universe=instruments, start=start, end=end, local=local, progress=out.progress)
    seconds = time.monotonic() - began
    rows = sum(part.rows for part in table.parts)
    summary: dict[str, Any] = {
        "features": table.uri,
        "rows": rows,
        "columns": len(table.columns),
        "instruments": len(table.instruments()),
        "first": min(part.first for part in table.parts)[:10],
        "last": max(part.last for part in table.parts)[:10],
        "files": len(table.files),
        "fingerprint": table.fingerprint,
        "seconds": round(seconds, 2),
    }
    told = [
        f"{numbered(summary['columns'], 'column|columns')}, {numbered(rows, 'row|rows')} of "
        f"{numbered(summary['instruments'], 'instrument|instruments')}",
        f"{summary['first']} to {summary['last']}, in {summary['seconds']:g} s",
    ]
    then = after_features(to, bars, instruments)
    out.summary(summary, title=f"{table.uri}: a feature table", told=told, then=then)
