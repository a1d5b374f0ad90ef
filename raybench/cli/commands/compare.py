"""``raybench compare``: finished runs side by side."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from raybench.cli.output import Output, command
from raybench.cli.run_argument import TrustOption
from raybench.cli.startup import loading

if TYPE_CHECKING:
    from raybench.comparison.job import Comparison
    from raybench.comparison.paired import PairedTest
    from raybench.comparison.table import TableRow


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("compare")(command(compare))


def compare(
    out: Output,
    runs: Annotated[
        list[str],
        typer.Argument(metavar="RUN", help="Runs, folders of seeds, searches or benchmarks: two runs at least."),
    ],
    to: Annotated[str, typer.Option("--out", metavar="DIR", help="Folder for table and report.")],
    bars: Annotated[
        str | None, typer.Option("--bars", metavar="BARS", help="Bars of all runs (default: those trained on).")
    ] = None,
    features: Annotated[
        str | None,
        typer.Option("--features", metavar="TABLE", help="Feature table of all runs (default: the one trained on)."),
    ] = None,
    trust: TrustOption = False,
) -> None:
    """Put runs side by side on the test dates they share: figures, paired tests, settings, curves.

    Seeds of a configuration are one row, beside what Qlib publishes of it. Writes a report, and the table as CSV, too.
    """
    with loading():
        from raybench.comparison.job import compare_runs

    done = compare_runs(runs, out=to, bars=bars, features=features, trust=trust, progress=out.progress)
    for line in done.warnings:
        out.warn(line)
    if out.as_json:
        out.summary(_said(done))
        return
    shown: dict[str, Any] = {"dates": done.common_dates or None, "differing": _keys(done), "report": done.report}
    shown["configurations"] = [_row(row) for row in done.rows]
    if done.tests:
        shown[f"Rank IC against {done.tests[0].against}"] = [_test_row(test) for test in done.tests]
    fits = sum(row.fits for row in done.rows)
    out.summary(shown, title=f"compared {fits} runs on their test dates: mean and deviation over seeds")


def _said(done: Comparison) -> dict[str, Any]:
    return {
        "configurations": done.table.to_dict("records"),
        "paired": [asdict(test) for test in done.tests],
        "differing": done.differing,
        "common_dates": done.common_dates,
        "report": done.report,
    }


def _keys(done: Comparison) -> str:
    """The keys that differ, as many as fit a line."""
    keys = list(done.differing)
    kept = keys[:3]
    while len(kept) > 1 and sum(map(len, kept)) > 48:
        kept.pop()
    more = f" and {len(keys) - len(kept)} more" if len(keys) > len(kept) else ""
    return f"{', '.join(kept)}{more}" if keys else "nothing but the seed"


def _row(row: TableRow) -> dict[str, Any]:
    """Write a configuration on a line of 80 columns."""
    figures = {name: row.ours[name] for name in ("Rank IC", "Rank ICIR", "IC")}
    return {
        "configuration": row.name,
        "fits": str(row.fits) if not row.failed else f"{row.fits} of {row.fits + row.failed}",
        "Rank IC": _figure(figures["Rank IC"].mean, figures["Rank IC"].std),
        "Rank ICIR": _figure(figures["Rank ICIR"].mean, digits=3),
        "IC": _figure(figures["IC"].mean),
        "valid": _figure(row.means["valid_rank_ic"]),
        "seconds": _figure(row.means["seconds"], digits=1),
    }


def _test_row(test: PairedTest) -> dict[str, Any]:
    return {
        "configuration": test.name,
        "difference": f"{test.difference:+.4f}",
        "interval": f"{test.low:+.4f} to {test.high:+.4f}",
        "p": _figure(test.p_value),
        "p (Holm)": _figure(test.p_holm),
    }


def _figure(mean: float, std: float = math.nan, digits: int = 4) -> str:
    if not math.isfinite(mean):
        return "-"
    return f"{mean:.{digits}f}" + (f" ± {std:.{digits}f}" if math.isfinite(std) else "")
