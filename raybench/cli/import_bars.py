"""``raybench import``: bars from a Qlib provider, CSV or Parquet to a bars dataset."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import typer

from raybench.cli.next_command import after_import
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
        help="Spans of a universe: instrument, start, end, an empty end for a span still open; or a list of names, "
        "members over the whole history. Repeatable.",
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
EncodingOption = Annotated[
    str | None, typer.Option("--encoding", metavar="NAME", help="Of CSV that is not UTF-8, such as gb18030.")
]
CalendarOption = Annotated[
    str | None,
    typer.Option(
        "--calendar",
        metavar="FILE",
        help="The dates on which bars of a table may lie, one a line; rows on others are left out.",
    ),
]
CoverageOption = Annotated[
    float | None,
    typer.Option(
        "--min-date-coverage",
        metavar="SHARE",
        min=0.0,
        max=1.0,
        help="A date of a table on which fewer than this share of the members have a bar is left out (0.1); "
        "0 keeps every date.",
    ),
]
AdjustOption = Annotated[
    str | None,
    typer.Option(
        "--adjust",
        metavar="FIELD",
        help="A field of factors (adjusted price over raw price): prices are multiplied by it, volume is divided.",
    ),
]
ReplaceOption = Annotated[
    bool, typer.Option("--replace", help="Replace a dataset that holds more (dates, instruments, fields) than SOURCE.")
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
    encoding: EncodingOption = None,
    calendar: CalendarOption = None,
    min_date_coverage: CoverageOption = None,
    adjust: AdjustOption = None,
    replace: ReplaceOption = False,
) -> None:
    """Import bars; importing the same again changes nothing."""
    from raybench.data.import_bars import check_target, import_bars
    from raybench.data.sources import open_source
    from raybench.data.sources.spans_file import read_spans

    out.keeps(f"{to} is whole, as it was or with all of the new bars; the same command does the rest")
    mapping = dict(pairs(columns or (), "--columns", "THEIRS=OURS"))
    files = dict(pairs(universe or (), "--universe", "NAME=FILE", split=False))
    rules = date_rules(calendar, min_date_coverage)
    check_target(to, replace=replace)  # before a source is read that may take minutes
    opened = open_source(source, format, columns=mapping, frequency=frequency, encoding=encoding, progress=out.progress)
    universes = {name: read_spans(file, name, encoding) for name, file in files.items()}
    done = import_bars(
        opened, to, universes=universes, rules=rules, replace=replace, adjust=adjust, progress=out.progress
    )
    for line in done.warnings:
        out.warn(line)
    for note in done.notes:
        out.progress.note(note)
    title = f"{done.uri}: " + ("imported" if done.changed else "holds the same bars already, nothing changed")
    then = after_import(to, list(done.metadata.universes))
    out.summary(summary(done), title=title, told=_told(summary(done)), then=then)


def _told(said: Mapping[str, Any]) -> list[str]:
    """What is in the bars now, in words."""
    return [
        f"{said['instruments']:,} instruments, {said['rows']:,} rows, frequency {said['frequency']}",
        f"{said['dates']:,} dates, {said['first']} to {said['last']}",
        f"fields {', '.join(said['fields'])}",
        f"universes {', '.join(said['universes'])}",
    ]


def date_rules(calendar: str | None, min_coverage: float | None) -> Any:
    """Which dates of a table count, as the options say; None if they say nothing."""
    from raybench.data.census import MIN_COVERAGE, DateRules
    from raybench.data.sources.days_file import read_days

    if calendar is not None and min_coverage is not None:
        raise DataError("--calendar decides alone which dates count; leave --min-date-coverage out")
    if calendar is None and min_coverage is None:
        return None
    return DateRules(
        min_coverage=MIN_COVERAGE if min_coverage is None else min_coverage,
        days=None if calendar is None else read_days(calendar),
    )


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
