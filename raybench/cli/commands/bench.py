"""``raybench bench``: several configurations with several seeds, and the table of what they came to."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from raybench.cli.config_argument import config_from
from raybench.cli.output import Output, command
from raybench.cli.progress_bars import duration
from raybench.cluster.address import check_named
from raybench.config import Config
from raybench.errors import ConfigError

if TYPE_CHECKING:
    from raybench.cluster.jobs.benching import BenchResult

GivenArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="CONFIG... [KEY=VALUE...]",
        help="Configuration files (YAML), local or s3://, and overrides that all of them get.",
        show_default=False,
    ),
]
SeedsOption = Annotated[
    str,
    typer.Option(
        "--seeds", metavar="K or N,N,...", help="How many seeds, from train.seed on, or which (7, is seed 7 alone)."
    ),
]
ToOption = Annotated[str, typer.Option("--out", metavar="DIR", help="Folder of the bench, local or s3://.")]
ResumeOption = Annotated[
    bool, typer.Option("--resume", help="Go on with a bench that was interrupted; try failed fits again.")
]
RollingOption = Annotated[
    str | None,
    typer.Option("--rolling", metavar="STEP", help="Step all segments through time by this much: 1y, 6m, 60d."),
]
ExpandingOption = Annotated[
    bool, typer.Option("--expanding", help="With --rolling: train from the first date on in every roll.")
]

SHOWN = 10  # configurations that the summary names


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("bench")(command(bench))


def bench(
    out: Output,
    given: GivenArgument = None,
    seeds: SeedsOption = "1",
    to: ToOption = "",
    resume: ResumeOption = False,
    rolling: RollingOption = None,
    expanding: ExpandingOption = False,
) -> None:
    """Train several configurations with several seeds side by side, and judge them on their test dates."""
    configs = _configs(given or [])
    if not to:
        raise ConfigError("--out is missing; give the folder to write, such as --out benches/first")
    for line in _warnings(configs):
        out.warn(line)
    out.about(run=to)
    out.keeps(f"{to} is as it was; the same command begins it, or goes on with --resume")
    check_named()
    from raybench.cluster.jobs import benching

    with out.keeping(lambda: benching.kept(to)):
        done = benching.bench(
            configs,
            seeds=seeds,
            out=to,
            resume=resume,
            rolling=rolling,
            expanding=expanding,
            progress=out.progress,
            warn=out.warn,
        )
    title = f"{to} was finished before" if done.done_before else f"bench {to}"
    out.summary(_summary(to, done), title=title, told=_told(to, done), then=_then(to, configs, done))


def _configs(given: Sequence[str]) -> dict[str, Config]:
    """Configurations by name, with the overrides; what has a = in it and is no file is one of these."""
    from raybench.comparison.fits import names_of

    overrides = [word for word in given if "=" in word and not os.path.exists(word)]
    places = [word for word in given if word not in overrides]
    return {name: config_from(place, overrides) for name, place in zip(names_of(places), places, strict=True)}


def _warnings(configs: dict[str, Config]) -> list[str]:
    """What is probably not meant, each line once, with the configurations that it is of."""
    names: dict[str, list[str]] = {}
    for name, config in configs.items():
        for line in config.warnings():
            names.setdefault(line, []).append(name)
    return [f"{', '.join(whose)}: {line}" for line, whose in names.items()]


def _summary(to: str, done: BenchResult) -> dict[str, Any]:
    """The figures of all configurations, means over seeds."""
    rows = []
    for name, fits in done.results.groupby("name", sort=False):
        metrics = {key: fits[key].mean() for key in ("IC", "ICIR", "Rank IC", "Rank ICIR")}
        spread = fits["Rank IC"].std(ddof=1)
        failed = int(fits["error"].notna().sum())
        rows.append({"name": name, "fits": len(fits), "failed": failed, **metrics, "Rank IC std": spread})
    return {
        "bench": to,
        "fits": len(done.results),
        "failed": done.failed,
        "errors": {str(row["run"]): row["error"] for _, row in done.results.dropna(subset=["error"]).iterrows()},
        "configurations": rows,
        "seconds": done.seconds,
        "results": f"{to.rstrip('/')}/results.parquet",
        "report": f"{to.rstrip('/')}/report.html",
    }


def _told(to: str, done: BenchResult) -> list[str]:
    """What was fitted and what came of it, best first, in words."""
    said = _summary(to, done)
    failed = f", of which {said['failed']} failed" if said["failed"] else ""
    lines = [f"{said['fits']} fits of {len(said['configurations'])} configurations in {duration(done.seconds)}{failed}"]
    known = [row for row in said["configurations"] if row["Rank IC"] == row["Rank IC"]]
    known.sort(key=lambda row: -float(row["Rank IC"]))
    for row in known[:SHOWN]:
        spread = f" (from fit to fit {row['Rank IC std']:.4f})" if row["Rank IC std"] == row["Rank IC std"] else ""
        lines.append(f"{row['name']}: Rank IC {row['Rank IC']:.4f}{spread}, IC {row['IC']:.4f} on the test dates")
    if len(known) > SHOWN:
        lines.append(f"and {len(known) - SHOWN} configurations more, in the report")
    lines += [f"{run}: failed: {error}" for run, error in list(said["errors"].items())[:SHOWN]]
    return [*lines, f"report: {said['report']}"]


def _then(to: str, configs: dict[str, Config], done: BenchResult) -> tuple[str, ...]:
    """Score with the best configuration, all its seeds together."""
    means = done.results[done.results["roll"].isna()].groupby("name")["Rank IC"].mean().dropna()
    if not len(means):
        return ()
    best = str(means.idxmax())
    data = configs[best].data
    source = ["--bars", data.bars] if data.bars else ["--features", str(data.features)]
    return ("score", "--model", f"{to.rstrip('/')}/runs/{best}", *source, "--to", f"{to.rstrip('/')}-{best}-scores")
