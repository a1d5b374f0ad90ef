"""``raybench info``: what lies at an address, in figures."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from raybench.cli.output import Output, command
from raybench.cli.tables import is_rows

MOST_COLUMNS = 7  # of a table by year: what 80 columns of a terminal have room for
WIDTH = 56  # of a line of text beside its key, likewise
HASH = 16  # digits of a fingerprint

PathArgument = Annotated[
    str,
    typer.Argument(
        metavar="PATH",
        help="Bars dataset, feature table (anyone's Parquet too), run, folder of runs or seeds, search, bench or score "
        "table, local or s3://.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("info")(command(info))


def info(out: Output, path: PathArgument) -> None:
    """Say what a dataset, table, run, search or bench holds: dates, members by year, gaps, NaN, size, versions.

    Of bars and feature tables every value is read once, for the share of NaN.
    """
    from raybench.contents.describe import describe

    found = describe(path, progress=out.progress, warn=out.warn)
    values = {"kind": found.kind.value, **found.values}
    if not out.as_json:
        values = for_people(values, everything=out.verbose)
    out.summary(values, title=f"{path}: {found.kind.value}")


def for_people(values: Mapping[str, Any], *, everything: bool) -> dict[str, Any]:
    """Leave out what is empty or said twice; names and whole hashes too, unless ``everything`` is wanted."""
    shown: dict[str, Any] = {}
    for key, value in values.items():
        if value is None or (isinstance(value, (Sequence, Mapping)) and not len(value)):
            continue
        if (key in ("kind", "names") and not everything) or (key == "days" and value == values["dates"]):
            continue
        shown[key.replace("_", " ")] = _shortened(key, value, everything=everything)
    return shown


def _shortened(key: str, value: Any, *, everything: bool) -> Any:
    if is_rows(value):
        return [_row(row) for row in value]
    if key.endswith("fingerprint") and not everything:
        return value[:HASH]
    if isinstance(value, list) and any(len(str(item)) > WIDTH for item in value):  # sentences
        return [line for item in value for line in textwrap.wrap(str(item), WIDTH, subsequent_indent="  ")]
    if isinstance(value, Mapping):
        return {name: item for name, item in value.items() if item not in (None, "")}
    return value


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of a table: years are no quantities, and get no comma."""
    kept = list(row.items())[:MOST_COLUMNS]
    return {key.replace("_", " "): str(value) if key == "year" else value for key, value in kept}
