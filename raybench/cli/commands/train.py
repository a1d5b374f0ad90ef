"""``raybench train``: one run, or one for each of several seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from raybench.cli.commands.features import described, first_few
from raybench.cli.config_argument import ConfigArgument, OverridesArgument, config_from
from raybench.cli.next_command import after_train
from raybench.cli.output import Output, command
from raybench.cli.progress_bars import duration
from raybench.cluster.address import check_named
from raybench.config import Config
from raybench.config.seeds import parse_seeds
from raybench.errors import ConfigError
from raybench.reports.text import numbered


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("train")(command(train))


def train(
    out: Output,
    config: ConfigArgument,
    overrides: OverridesArgument = None,
    to: Annotated[str, typer.Option("--out", metavar="RUN", help="Run directory, local or s3://.")] = "",
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.")] = False,
    seeds: Annotated[
        str | None,
        typer.Option(
            "--seeds",
            metavar="K or N,N,...",
            help="Train K times, from train.seed on, or for each seed listed (7, is seed 7 alone), into RUN/seed-N.",
        ),
    ] = None,
    local: Annotated[
        bool | None,
        typer.Option("--local/--ray", help="This process alone, or Ray (default: Ray for more than one worker)."),
    ] = None,
) -> None:
    """Train a network, distributed over the workers of the cluster."""
    wanted = config_from(config, overrides)
    if not to:
        raise ConfigError("--out is missing; give the run directory to write, such as --out runs/gru")
    for warning in wanted.warnings():
        out.warn(warning)
    out.about(run=to)
    out.keeps(f"{to} is as it was; the same command begins it, or goes on from its checkpoints with --resume")
    if local is not True:
        check_named()
    if seeds is None:
        _train(out, wanted, to, resume=resume, local=local)
    else:
        _train_seeds(out, wanted, seeds, to, resume=resume, local=local)


def _train(out: Output, wanted: Config, to: str, *, resume: bool, local: bool | None) -> None:
    """One run."""
    from raybench.cluster.jobs import ownership, training
    from raybench.runs import artifact

    done_before = artifact.is_finished(to)
    with out.keeping(lambda: ownership.kept(to)):
        run = training.train(wanted, out=to, resume=resume, local=local, progress=out.progress, warn=out.warn)
    for line in run.warnings:
        out.warn(line)
    title = f"{to} was finished before" if done_before else f"trained into {to}"
    facts = {**_facts(run.manifest), **described(run.config, run.features)}
    summary = {"run": to, "run_id": run.run_id, **run.metrics, **facts}
    out.summary(summary, title=title, told=_told(summary), then=after_train(to, wanted))


def _train_seeds(out: Output, wanted: Config, seeds: str, to: str, *, resume: bool, local: bool | None) -> None:
    """A run for each seed."""
    from raybench.cluster.jobs import training

    numbers = parse_seeds(seeds, wanted.train.seed)
    runs = training.train_seeds(
        wanted, numbers, out=to, resume=resume, local=local, progress=out.progress, warn=out.warn
    )
    for line in dict.fromkeys(line for run in runs for line in run.warnings):
        out.warn(line)
    rows = [{"run": run.uri, "seed": run.manifest["seed"], "run_id": run.run_id, **run.metrics} for run in runs]
    facts = {**spread(rows), **described(runs[0].config, runs[0].features)}
    summary = {"run": to, "runs": rows, **facts}
    title = f"trained {numbered(len(rows), 'seed|seeds')} into {to}"
    out.summary(summary, title=title, told=_told_of_seeds(summary, runs[0].manifest), then=after_train(to, wanted))


def spread(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Mean and sample standard deviation over the seeds of each validation metric."""
    from statistics import fmean, stdev

    found: dict[str, float] = {}
    for name in ("valid_loss", "valid_ic", "valid_rank_ic"):
        values = [float(row[name]) for row in rows if isinstance(row[name], float)]
        if values:
            found[f"{name}_mean"] = fmean(values)
            found[f"{name}_std"] = stdev(values) if len(values) > 1 else 0.0
    return found


def _facts(manifest: object) -> dict[str, object]:
    assert isinstance(manifest, dict)
    names = ("model", "parameters", "epochs", "samples", "workers", "seconds", "data_fingerprint")
    return {name: manifest[name] for name in (*names, *({"dates_per_batch"} & {*manifest}))}


def _told(said: Mapping[str, Any]) -> list[str]:
    """What was trained and how good it is, in words."""
    epochs = said["epochs"]
    dates = said.get("dates_per_batch")
    best = "" if epochs == 1 else f", the best of them epoch {said['best_epoch']}"
    return [
        _network(said, said["model"], said["parameters"]),
        f"{numbered(epochs, 'epoch|epochs')}{best}, in {duration(said['seconds'])}",
        f"on the validation dates: Rank IC {_number(said['valid_rank_ic'])}, IC {_number(said['valid_ic'])}, "
        f"loss {_number(said['valid_loss'])}",
        *([] if dates is None else [f"{numbered(dates, 'whole date|dates')} in a step, one for each worker"]),
    ]


def _told_of_seeds(said: Mapping[str, Any], manifest: Mapping[str, Any]) -> list[str]:
    measured = [
        f"{name} {_number(said.get(f'valid_{key}_mean'))} (from seed to seed {_number(said.get(f'valid_{key}_std'))})"
        for key, name in (("rank_ic", "Rank IC"), ("ic", "IC"))
    ]
    return [
        _network(said, manifest["model"], manifest["parameters"]),
        f"on the validation dates: {', '.join(measured)}",
        "a table of them is in seeds.parquet; score and evaluate take the folder as one model",
    ]


def _network(said: Mapping[str, Any], model: str, parameters: int) -> str:
    features = ""
    if said["num_features"] is not None:
        features = f", {numbered(said['num_features'], 'feature|features')}: {first_few(said['features'])}"
    return f"{model}, {parameters:,} parameters{features}"


def _number(value: float | None) -> str:
    return "not known" if value is None or not math.isfinite(value) else f"{value:.4f}"
