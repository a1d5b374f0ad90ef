"""``raybench check``: what a configuration would run. Loads neither torch nor ray, and reads no row of data.

Of a feature table it reads the names of the columns: which are features, and whether those that are named are there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

import typer

from raybench.cli.commands.features import described
from raybench.cli.config_argument import ConfigArgument, OverridesArgument, config_text
from raybench.cli.next_command import after_check
from raybench.cli.output import Output, command
from raybench.config import Config, find_problems, parse_config
from raybench.config.fused import layers_to_run
from raybench.config.panel_spec import PanelSpec
from raybench.config.recipe import quirks
from raybench.config.size import keeps_fields, parameters, row_bytes, sample_bytes
from raybench.errors import RaybenchError, UserError
from raybench.reports.text import numbered


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("check")(command(check))


def check(out: Output, config: ConfigArgument, overrides: OverridesArgument = None) -> None:
    """Validate a configuration and say what it would run."""
    text = config_text(config)
    problems = find_problems(text, name=config, overrides=overrides or ())
    for line in problems:
        out.say(line, "error")
    if problems:
        raise typer.Exit(2)
    read = parse_config(text, name=config, overrides=overrides or ())
    for warning in (*read.warnings(), *missing_paths(read)):
        out.warn(warning)
    names, notes = feature_names(read)
    for note in notes:
        out.warn(note)
    told = described(read, names)
    said = {**describe(read, told["num_features"]), **told}
    then = after_check(config, overrides or ())
    out.summary(said, title=f"{config} is valid", told=in_words(said), then=then)


def in_words(said: Mapping[str, Any]) -> list[str]:
    """What would run, in words: one screen with the warnings above it."""
    known = said["parameters"] is not None
    size = f", {said['parameters']:,} parameters" if known else ", parameters not known before its data are"
    width = (
        "features not known yet" if said["num_features"] is None else numbered(said["num_features"], "feature|features")
    )
    return [
        f"{said['model']}{size}; {width}, windows of {numbered(said['step_len'], 'row|rows')}",
        f"data: {said['source']}, universe {said['universe']}",
        f"label: {said['label']}",
        "; ".join(f"{name} {span}" for name, span in said["segments"].items()),
        f"training: {said['training']}",
        *([f"recurrent layers: {said['recurrent_layers']}"] if said["recurrent_layers"] else []),
        f"batches of {said['batch'][0]}{' windows' if isinstance(said['batch'][0], int) else ''}; "
        f"workers: {said['workers']}",
        f"memory: {_memory(said)}",
        *(f"recipe qlib: {line}" for line in said["quirks"]),
    ]


def feature_names(config: Config) -> tuple[tuple[str, ...] | None, list[str]]:
    """The features that reach the network, and what is odd about a table's columns; None where nobody can know.

    DataError where the table is there and lacks a column that the configuration names.
    """
    data = config.data
    known = None if data.feature_set.names is None else data.left_by_filters(data.feature_set.names)
    if data.features is None or "://" in data.features or not _exists(data.features):
        return known, []
    from raybench.feature_sets.table import open_features  # pyarrow is slow to load, and seldom needed here
    from raybench.feature_sets.table_columns import check_named, table_findings, used_columns

    try:
        table = open_features(data.features)
    except UserError as error:
        return known, [str(error)]
    spec = PanelSpec.of(config)
    check_named(spec, table)
    return data.left_by_filters(used_columns(spec, table)), list(table_findings(spec, table))


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
        **_panel_bytes(config, features),
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
        "recurrent_layers": layers_to_run(config),
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
    kind = f"{numbered(config.data.second_features or 0, 'feature|features')} of {second.feature_set.type}"
    return f"{numbered(second.step_len, 'row|rows')} of {kind} from {second.bars}"


def _training(config: Config) -> str:
    train, stop = config.train, config.train.early_stop
    if config.model.fitting == "direct":
        return "at once, without gradient steps: epochs, lr and optimizer have no effect"
    return (
        f"{train.optimizer}, lr {train.lr:g} {train.lr_schedule.type}, loss {train.loss}, at most "
        f"{numbered(train.max_epochs, 'epoch|epochs')}, stops {stop.patience} after its best {stop.metric}"
    )


def _workers(config: Config) -> str:
    if config.model.one_process:
        return "one with all free cores"
    return "one per GPU, else one with all free cores"


def _batch(config: Config) -> int | str:
    """Say what a step is given: a number of windows, or of whole dates."""
    if config.model.batches == "dates":
        dates = config.train.dates_per_batch
        return "one date per worker" if dates is None else numbered(dates, "date|dates")
    return config.train.batch_size


def _panel_bytes(config: Config, features: int | None) -> dict[str, int | None]:
    """Say what a panel takes for each bar of a member, its sample included, and what for its bars while it is none.

    How many members and bars there are, only the data say. What the second bars take is not in it.
    """
    spec = PanelSpec.of(config)
    row = None if features is None else row_bytes(spec, features)
    return {
        "panel_row_bytes": None if row is None else row + sample_bytes(spec),
        "panel_other_row_bytes": row if keeps_fields(spec) else 0,
    }


def _memory(said: Mapping[str, Any]) -> str:
    """The panel's memory in words, with an example that anyone can scale."""
    row, other = said["panel_row_bytes"], said["panel_other_row_bytes"]
    if row is None:
        return "not known before the features are"
    outside = f", and {other} for each of its bars while it is no member" if other else ""
    return f"{row:,} bytes of panel for a member's bar{outside}; 1,000 members of 1,000 bars take {row:,} MB"


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
    from raybench.storage.files import exists  # pyarrow is slow to load, and seldom needed here

    return exists(uri)
