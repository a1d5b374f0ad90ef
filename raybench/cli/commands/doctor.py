"""``raybench doctor``: what works on this machine."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from raybench.cli.output import Output, command
from raybench.reports.text import numbered

PathOption = Annotated[
    list[str] | None,
    typer.Option(
        "--path",
        metavar="PATH",
        help="A folder or s3:// address that is to be written (the working directory). Repeatable.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor")(command(doctor))


def doctor(out: Output, path: PathOption = None) -> None:
    """Check this machine within a minute: versions, memory, folders, GPUs and NCCL, Ray, a training of five seconds.

    Nothing is left behind. The exit code is 1 if any check found something wrong.
    """
    from raybench.cluster.health.doctor import examine

    outcomes = list(examine(path or ["."], progress=out.progress))
    amiss = [outcome for outcome in outcomes if not outcome.ok]
    told = []
    for outcome in outcomes:
        told.append(f"{'ok   ' if outcome.ok else 'WRONG'}  {outcome.name}: {outcome.said}")
        told += [f"       {outcome.advice}"] if outcome.advice else []
    title = f"{numbered(len(outcomes), 'check|checks')}, "
    title += f"{numbered(len(amiss), 'finds|find')} something wrong" if amiss else "all is well"
    out.summary({"ok": not amiss, "checks": [asdict(outcome) for outcome in outcomes]}, title=title, told=told)
    if amiss:
        raise typer.Exit(1)
