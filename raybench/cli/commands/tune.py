"""``raybench tune``: a search over keys of a configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from raybench.cli.config_argument import ConfigArgument, OverridesArgument, config_from
from raybench.cli.next_command import after_train
from raybench.cli.output import Output, command
from raybench.cli.progress_bars import duration
from raybench.cluster.address import check_named
from raybench.errors import ConfigError

if TYPE_CHECKING:
    from raybench.search.folder import SearchResult


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("tune")(command(tune))


def tune(
    out: Output,
    config: ConfigArgument,
    overrides: OverridesArgument = None,
    to: Annotated[str, typer.Option("--out", metavar="DIR", help="Folder of the search, local or s3://.")] = "",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a search that was interrupted.")] = False,
) -> None:
    """Search hidden size, layers, dropout, learning rate, or any other key."""
    wanted = config_from(config, overrides)
    if not to:
        raise ConfigError("--out is missing; give the folder to write, such as --out searches/gru")
    for warning in wanted.warnings():
        out.warn(warning)
    out.about(run=to)
    out.keeps(f"{to} is as it was; the same command begins it, or goes on with --resume")
    check_named()
    from raybench.cluster.jobs import tuning
    from raybench.search import folder
    from raybench.search.draws import told

    done_before, said = folder.is_finished(to), set[str]()

    def warn(line: str) -> None:
        if line not in said:
            said.add(line)
            out.warn(line)

    with out.keeping(lambda: folder.kept(to)):
        found = tuning.search(wanted, out=to, resume=resume, progress=out.progress, warn=warn)
    for line in found.warnings:
        warn(line)
    summary = _summary(to, wanted.tune.metric, found)
    title = f"{to} was finished before" if done_before else f"searched into {to}"
    words = _told(summary, told(found.best_trial.values), found.best_trial.best_epoch)
    out.summary(summary, title=title, told=words, then=after_train(f"{to.rstrip('/')}/best", wanted))


def _summary(to: str, metric: str, found: SearchResult) -> dict[str, Any]:
    """What was tried and what won, in figures."""
    from raybench.search.ledger import trial_id

    best, counts = found.best_trial, found.trials["status"].value_counts()
    return {
        "search": to,
        "best": f"{to.rstrip('/')}/best",
        "run_id": found.best.run_id,
        "best_trial": trial_id(best.number),
        "values": dict(best.values),
        "metric": metric,
        "valid": best.metric,
        "trials": len(found.trials),
        **{f"trials_{status}": int(counts.get(status, 0)) for status in ("done", "stopped", "failed")},
        "test": dict(found.test),
        "seconds": found.seconds,
        "report": f"{to.rstrip('/')}/report.html",
    }


def _told(said: Mapping[str, Any], values: str, epoch: int) -> list[str]:
    """What was tried and what won, in words."""
    name = {"loss": "loss", "ic": "IC", "rank_ic": "Rank IC"}[said["metric"]]
    ends = [
        f"{said[f'trials_{status}']} {status}" for status in ("done", "stopped", "failed") if said[f"trials_{status}"]
    ]
    lines = [
        f"{said['trials']} trials ({', '.join(ends)}) in {duration(said['seconds'])}",
        f"the best is {said['best_trial']}: {values}",
        f"on the validation dates: {name} {said['valid']:.4f}, of epoch {epoch}",
    ]
    if said["test"]:
        lines.append(f"on the test dates, seen by no trial: Rank IC {said['test']['Rank IC']:.4f}")
    return [*lines, f"report: {said['report']}"]
