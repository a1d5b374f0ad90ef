"""``raybench runs``: the runs below a folder, and what each came to."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from raybench.cli.output import Output, command
from raybench.reports.text import numbered

if TYPE_CHECKING:
    from raybench.runs.listing import ListedRun


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("runs")(command(runs))


def runs(
    out: Output,
    folder: Annotated[
        str, typer.Argument(metavar="DIR", help="Folder with runs, at any depth, local or s3://; or a run.")
    ] = "runs",
) -> None:
    """List runs: network, features, seed, epochs, Rank IC on validation and test dates, and when.

    The test's is of an evaluation in DIR whose scores are of that run, with its standard error. Seeds of one folder
    that were evaluated as one have a line of their own.
    """
    from raybench.runs.listing import list_runs

    found = list_runs(folder, out.warn)
    for run in found:
        if run.problem:
            out.warn(run.problem)
    if out.as_json:
        out.summary({"runs": [asdict(run) for run in found]})
        return
    count = numbered(sum(run.seeds is None for run in found), "run|runs")
    title = f"{count} in {folder}: Rank IC on validation and test dates"
    if found:
        out.summary({"runs": [_row(run) for run in found]}, title=title)
    else:
        out.summary({}, title=f"no runs in {folder}", then=("train", "--help"))


def _row(run: ListedRun) -> dict[str, Any]:
    """Write a run on a line of 80 columns."""
    test = "-" if run.test_rank_ic is None else f"{run.test_rank_ic:.4f}"
    if run.test_rank_ic is not None and run.test_rank_ic_error is not None:
        test += f" ± {run.test_rank_ic_error:.4f}"
    return {
        "run": run.run,
        "network": run.network,
        "features": run.features,
        "seed": f"all {run.seeds}" if run.seeds else None if run.seed is None else str(run.seed),
        "epochs": run.epochs,
        "valid": "-" if run.valid_rank_ic is None else f"{run.valid_rank_ic:.4f}",
        "test": test,
        "when": run.state if run.finished is None else run.finished[:10],
    }
