"""``raybench demo``: everything once, on a market made up for it."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from raybench.cli.output import Output, command
from raybench.cli.progress_bars import duration
from raybench.cluster.address import check_named
from raybench.reports.text import numbered


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo")(command(demo))


def demo(
    out: Output,
    to: Annotated[str, typer.Option("--out", metavar="DIR", help="Folder to fill.")] = "demo-out",
    instruments: Annotated[int, typer.Option(help="Instruments of the synthetic market.", min=20)] = 240,
    years: Annotated[float, typer.Option(help="Years of the synthetic market.", min=1.0)] = 5.0,
) -> None:
    """Synthetic market, features, two training workers, scores, evaluation: the whole way once."""
    check_named()
    from raybench.cluster.jobs.demo import run_demo

    out.keeps(f"what is finished in {to} stays; the same command does the rest")
    began = time.monotonic()
    done = run_demo(to, instruments=instruments, years=years, progress=out.progress)
    attained = done.evaluated.metrics["Rank IC"]
    out.summary(
        {
            **done.evaluated.metrics,
            "attainable Rank IC": done.attainable_rank_ic,
            "share attained": attained / done.attainable_rank_ic,
            "epochs": done.epochs,
            "report": done.evaluated.report,
            "seconds": round(time.monotonic() - began, 1),
        },
        title=f"the demo is in {to}",
        told=[
            f"Rank IC {attained:.4f} on dates that the network has not seen, of {done.attainable_rank_ic:.4f} that "
            "the market was made to allow",
            f"{numbered(done.epochs, 'epoch|epochs')}; all in {duration(time.monotonic() - began)}",
            f"open {done.evaluated.report}",
        ],
        then=("check", f"{to}/run/config.yaml"),
    )
