"""``raybench init``: a commented configuration for the bars at hand."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from raybench.cli.commands.models import beginning_with
from raybench.cli.output import Output, command
from raybench.config.json_schema import FILE, config_schema
from raybench.errors import ConfigError

if TYPE_CHECKING:
    from raybench.drafting.draft import Draft


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("init")(command(init))


def init(
    out: Output,
    bars: Annotated[str, typer.Option("--bars", metavar="BARS", help="Bars dataset (of raybench import).")],
    model: Annotated[
        str, typer.Option("--model", metavar="NETWORK", help="See raybench models.", autocompletion=beginning_with)
    ] = "gru",
    set: Annotated[str, typer.Option("--set", help="alpha158 or alpha360.")] = "alpha158",
    universe: Annotated[
        str | None, typer.Option("--universe", metavar="NAME", help="Which of the bars' universes.")
    ] = None,
    concepts: Annotated[
        str | None, typer.Option("--concepts", metavar="FILE", help="Concept table, which hist needs.")
    ] = None,
    to: Annotated[
        str | None, typer.Option("--to", metavar="CONFIG", help="File to write, local or s3:// (NETWORK.yaml).")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that says something else.")] = False,
) -> None:
    """Write a configuration with the universe and dates that the bars really have, every key explained.

    It trains as it stands: Qlib's benchmark settings of the network, segments that fit the bars. Beside it lies the
    JSON schema by which editors complete its keys.
    """
    from raybench.drafting.draft import draft
    from raybench.storage import files
    from raybench.storage.places import Kind, refuse_below_a_file, refuse_within

    target = to or (f"{model}.yaml" if set == "alpha158" else f"{model}_{set}.yaml")
    refuse_below_a_file(target, option="--to")
    refuse_within(target, Kind.FILE, option="--to")
    if target.endswith("/") or files.is_folder(target):
        file = files.join(target, f"{model}.yaml")
        raise ConfigError(f"--to is {target}, a folder; want the file to write, such as {file}")
    made = draft(bars, network=model, feature_set=set, universe=universe, concepts=concepts, file=target)
    there = files.read_bytes(target) if files.exists(target) else None
    written = made.text.encode()
    if there not in (None, written) and not overwrite:
        raise ConfigError(f"{target} is there and says something else; choose another --to, or add --overwrite")
    schema = _schema_beside(target)
    files.publish_bytes(schema, (json.dumps(config_schema(), indent=2) + "\n").encode())
    if there != written:
        files.publish_bytes(target, written)
    for line in (*made.warnings, *made.config.warnings()):
        out.warn(line)
    said = _said(made, target, changed=there != written, schema=schema)
    out.summary(said, title=f"{target}: {_what(there, written)}", told=_told(said), then=("check", target))


def _schema_beside(target: str) -> str:
    """Where editors find the schema of a file, or of its copy where that lies on S3."""
    folder, slash, _ = target.rpartition("/")
    return f"{folder}{slash}{FILE}"


def _said(made: Draft, target: str, *, changed: bool, schema: str) -> dict[str, object]:
    data = made.config.data
    return {
        "config": target,
        "changed": changed,
        "schema": schema,
        "model": made.config.model.type,
        "feature_set": data.feature_set.type,
        "bars": data.bars,
        "universe": data.universe,
        "universes": list(made.universes),
        "segments": {name: f"{first} to {last}" for name, (first, last) in data.segments.items()},
        "embargo": data.embargo,
    }


def _told(said: dict[str, object]) -> list[str]:
    segments = said["segments"]
    assert isinstance(segments, dict)
    return [
        f"{said['model']} on {said['feature_set']}, universe {said['universe']}",
        "; ".join(f"{name} {span}" for name, span in segments.items()),
    ]


def _what(there: bytes | None, written: bytes) -> str:
    if there == written:
        return "is there already, and the same"
    return "written" if there is None else "replaced"
