"""``raybench import``: bars from a Qlib provider, CSV or Parquet to a bars dataset."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import typer

from raybench.cli.output import Output, command
from raybench.errors import DataError

SourceArgument = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE",
        help="Qlib provider folder, or CSV or Parquet file or folder, local or s3://. Tables have the "
        "columns instrument (or the file is named after it), datetime, open, high, low, close, volume, and "
        "any other numbers. A datetime with a zone keeps the time that clocks show there.",
    ),
]
ToOption = Annotated[str, typer.Option("--to", metavar="BARS", help="Bars dataset to make or replace, local or s3://.")]
FormatOption = Annotated[str | None, typer.Option("--format", help="qlib, csv or parquet; found out if not given.")]
UniverseOption = Annotated[
    list[str] | None,
    typer.Option(
        "--universe",
        metavar="NAME=FILE",
        help="Spans of a universe: instrument, start, end, an empty end for a span still open. Repeatable.",
    ),
]
ColumnsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--columns",
        metavar="THEIRS=OURS",
        help="A column that has another name; THEIRS= leaves it out. Repeatable, or separated by commas.",
    ),
]
FrequencyOption = Annotated[
    str | None,
    typer.Option("--frequency", help="Which of a provider's frequencies; what to call that of a table."),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("import")(command(import_))


def import_(
    out: Output,
    source: SourceArgument,
    to: ToOption,
    format: FormatOption = None,
    universe: UniverseOption = None,
    columns: ColumnsOption = None,
    frequency: FrequencyOption = None,
) -> None:
    """Import bars; importing the same again changes nothing."""
    from raybench.data.import_bars import check_target, import_bars
    from raybench.data.sources import open_source
    from raybench.data.sources.spans_file import read_spans

    out.keeps(f"{to} is whole, as it was or with all of the new bars; the same command does the rest")
    mapping = dict(pairs(columns or (), "--columns", "THEIRS=OURS"))
    files = dict(pairs(universe or (), "--universe", "NAME=FILE", split=False))
    check_target(to)  # before a source is read that may take minutes
    opened = open_source(source, format, columns=mapping, frequency=frequency, progress=out.progress)
    universes = {name: read_spans(file, name) for name, file in files.items()}
    done = import_bars(opened, to, universes=universes, progress=out.progress)
    for note in done.notes:
        out.progress.note(note)
    title = f"{done.uri}: " + ("imported" if done.changed else "holds the same bars already, nothing changed")
    out.summary(summary(done), title=title)


def summary(done: Any) -> dict[str, Any]:
    """What an import did, for the terminal and for --json."""
    metadata = done.metadata
    return {
        "bars": done.uri,
        "changed": done.changed,
        "instruments": sum(len(file.instruments) for file in metadata.files),
        "rows": metadata.rows,
        "fields": list(metadata.fields),
        "frequency": metadata.frequency,
        "dates": metadata.dates,
        "first": metadata.first,
        "last": metadata.last,
        "universes": list(metadata.universes),
        "files": len(metadata.files),
        "megabytes": round(sum(file.bytes for file in metadata.files) / 1e6, 1),
        "fingerprint": metadata.fingerprint,
        "warnings": metadata.warnings,
        "notes": list(done.notes),
    }


def pairs(given: Sequence[str], option: str, form: str, *, split: bool = True) -> Iterator[tuple[str, str]]:
    """The two sides of each ``left=right``; each left once."""
    seen = set()
    for text in (part for each in given for part in (each.split(",") if split else [each])):
        left, equals, right = (side.strip() for side in text.partition("="))
        if not equals or not left or (not right and not split):
            raise DataError(f"{option} {text}: want {form}")
        if left in seen:
            raise DataError(f"{option} {text}: {left} is given twice")
        seen.add(left)
        yield left, right
