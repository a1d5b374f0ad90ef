"""``raybench check``: what a configuration would run. Loads neither torch nor ray, and reads no row of data.

Of a feature table that leaves the choice of columns to raybench it reads their names, since nobody else knows them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

import typer

from raybench.cli.config_argument import ConfigArgument, OverridesArgument, config_text
from raybench.cli.features import described
from raybench.cli.next_command import after_check
from raybench.cli.output import Output, command
from raybench.config import Config, find_problems, parse_config
from raybench.config.recipe import quirks
from raybench.config.size import parameters, row_bytes
from raybench.errors import RaybenchError, UserError

TRADING_DAYS = 244  # of a year, as the bars of Qlib have them
BYTES = {"fp32": 4, "bf16": 2, "fp64": 8}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("check")(command(check))


def check(out: Output, config: ConfigArgument, overrides: OverridesArgument = None) -> None:
    """Validate a configuration and say what it would run."""
    text = config_text(config)
    problems = find_problems(text, name=config, overrides=overrides or ())
    for line in problems:
        out.say(f"error: {line}")
    if problems:
        raise typer.Exit(2)
    read = parse_config(text, name=config, overrides=overrides or ())
    for warning in (*read.warnings(), *missing_paths(read)):
        out.warn(warning)
    names, notes = feature_names(read)
    for note in notes:
        out.warn(note)
    told = described(read, names, in_full=out.as_json)
    said = {**describe(read, told["num_features"]), **told}
    then = after_check(config, overrides or ())
    out.summary(said, title=f"{config} is valid", told=in_words(said), then=then)


def in_words(said: Mapping[str, Any]) -> list[str]:
    """What would run, in words: one screen with the warnings above it."""
    known = said["parameters"] is not None
    size = f", {said['parameters']:,} parameters" if known else ", parameters not known before its data are"
    width = "features not known yet" if said["num_features"] is None else f"{said['num_features']} features"
    batch = "" if said["batch_mb_estimated"] is None else f", about {said['batch_mb_estimated']:g} MB each"
    panel = said["panel_mb_per_1000_instruments"]
    rows = [] if panel is None else [f"memory: about {panel:,.0f} MB of rows for each 1,000 instruments of daily data"]
    return [
        f"{said['model']}{size}; {width}, windows of {said['step_len']} rows",
        f"data: {said['source']}, universe {said['universe']}",
        f"label: {said['label']}",
        "; ".join(f"{name} {span}" for name, span in said["segments"].items()),
        f"training: {said['training']}",
        f"batches of {said['batch'][0]}{' windows' if isinstance(said['batch'][0], int) else ''}{batch}; "
        f"workers: {said['workers']}",
        *rows,
        *(f"recipe qlib: {line}" for line in said["quirks"]),
    ]


def feature_names(config: Config) -> tuple[tuple[str, ...] | None, list[str]]:
    """The features that reach the network, and what is odd about a table's columns; None where nobody can know."""
    data = config.data
    if data.feature_set.type != "table":
        return data.left_by_filters(data.feature_set.names or ()), []
    if data.features is None or "://" in data.features or not _exists(data.features):
        return (None if data.feature_set.names is None else data.left_by_filters(data.feature_set.names)), []
    from raybench.data.feature_table import open_features  # pyarrow is slow to load, and seldom needed here
    from raybench.data.table_columns import table_findings, used_columns

    try:
        table = open_features(data.features)
        return data.left_by_filters(used_columns(config, table)), list(table_findings(config, table))
    except UserError as error:
        return None, [str(error)]


def describe(config: Config, width: int | None = None) -> dict[str, Any]:
    """Say what a configuration would run, as far as it can be known without its data.

    ``width``: the number of features, where it was found out; else the configuration says it, or nobody does.
    """
    data, train = config.data, config.train
    features, model = data.num_features if width is None else width, config.model.under(config.recipe)
    return {
        "model": model.type,
        "parameters": parameters(config, features),
        "feature_set": data.feature_set.type,
        "num_features": features,
        "step_len": data.step_len,
        "batch": [_batch(config), data.step_len, features],
        "batch_mb_estimated": _batch_megabytes(config, features),
        "panel_mb_per_1000_instruments": _panel_megabytes(config, features),
        "second": _second(config),
        "source": data.features or data.bars,
        "universe": data.universe,
        "segments": {name: f"{first} to {last}" for name, (first, last) in data.segments.items()},
        "label": data.label,
        "horizon": data.horizon,
        "embargo": data.embargo,
        "processors": {
            "infer": [spec.name for spec in data.processors.infer],
            "learn": [spec.name for spec in data.processors.learn],
        },
        "training": _training(config),
        "precision": train.precision,
        "seed": train.seed,
        "workers": config.cluster.num_workers or _workers(config),
        "recipe": config.recipe,
        "quirks": list(quirks(config)),
    }


def _second(config: Config) -> str | None:
    """Say what the second window is."""
    second = config.data.second
    if second is None:
        return None
    kind = f"{config.data.second_features} features of {second.feature_set.type}"
    return f"{second.step_len} rows of {kind} from {second.bars}"


def _training(config: Config) -> str:
    train, stop = config.train, config.train.early_stop
    if config.model.fitting == "direct":
        return "at once, without gradient steps: epochs, lr and optimizer have no effect"
    return (
        f"{train.optimizer}, lr {train.lr:g} {train.lr_schedule.type}, loss {train.loss}, at most "
        f"{train.max_epochs} epochs, stops {stop.patience} after its best {stop.metric}"
    )


def _workers(config: Config) -> str:
    if config.model.one_process:
        return "one with all free cores"
    return "one per GPU, else one with all free cores"


def _batch(config: Config) -> int | str:
    """Say what a step is given: a number of windows, or of whole dates."""
    if config.model.batches == "dates":
        return f"{config.train.dates_per_batch} dates"
    return config.train.batch_size


def _batch_megabytes(config: Config, features: int | None) -> float | None:
    """Estimate windows and activations of one global batch (windows alone for a network of one's own).

    Nothing is said of a batch of whole dates, whose size is that of the universe.
    """
    data = config.data
    if features is None or config.model.batches == "dates":
        return None
    kept = config.model.under(config.recipe).floats_per_sample(features, data.step_len)
    floats = data.step_len * features + (kept or 0)
    if data.second is not None and (width := data.second_features) is not None:
        of_second = config.model.floats_per_sample(width, data.second.step_len)
        floats += data.second.step_len * width + (of_second or 0)
    total = config.train.batch_size * floats * BYTES[config.train.precision]
    return round(total / 1e6, 1)


def _panel_megabytes(config: Config, features: int | None) -> float | None:
    """Estimate the panel's rows for each 1,000 instruments that have a bar on every trading day of the segments.

    How many instruments there are, and on how many dates, only the data say; the second window is not in it.
    """
    if features is None:
        return None
    spans = dict(config.data.segments.items()).values()
    days = (max(last for _, last in spans) - config.data.first_date).days
    return round(1000 * days / 365.25 * TRADING_DAYS * row_bytes(config, features) / 1e6, 1)


def missing_paths(config: Config) -> Iterator[str]:
    """Warn of sources that are not there (from here: a cluster may see other paths)."""
    named = {
        "data.bars": config.data.bars,
        "data.features": config.data.features,
        "data.concepts": config.data.concepts,
        "data.second.bars": None if config.data.second is None else config.data.second.bars,
        "model.pretrained": getattr(config.model, "pretrained", None),
    }
    for key, uri in named.items():
        if uri is None:
            continue
        try:
            there = _exists(uri)
        except (RaybenchError, OSError) as error:
            yield f"{key}: could not look for {uri} ({' '.join(str(error).split())})"
        else:
            if not there:
                yield f"{key}: {uri} is not there"


def _exists(uri: str) -> bool:
    if "://" not in uri:
        return os.path.exists(os.path.expanduser(uri))
    from raybench.data.storage import exists  # pyarrow is slow to load, and seldom needed here

    return exists(uri)
