"""``raybench import``: bars from a Qlib provider, CSV or Parquet to a bars dataset, as a whole or added to it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Annotated, Any

import typer

from raybench.cli.next_command import after_import
from raybench.cli.output import Output, command
from raybench.errors import DataError
from raybench.reports.text import numbered

SourceArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="SOURCE",
        show_default=False,
        help="Qlib provider folder, or CSV or Parquet file or folder, local or s3://. Tables have the "
        "columns instrument (or the file is named after it), datetime, open, high, low, close, volume, and "
        "any other numbers. A datetime with a zone keeps the time that clocks show there.",
    ),
]
ToOption = Annotated[
    str, typer.Option("--to", metavar="BARS", help="Bars dataset to make, replace or add to, local or s3://.")
]
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
    str | None, typer.Option("--encoding", metavar="NAME", help="Of CSV and universes not in UTF-8: gb18030.")
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
MarketOption = Annotated[
    str | None,
    typer.Option(
        "--market",
        metavar="NAME",
        help="The exchange, such as XSHG, XNYS or 24/7: dates on which it was open and nobody has a bar, and dates on "
        "which it was closed, are named and counted. An append goes by that of the dataset.",
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
AppendOption = Annotated[
    bool,
    typer.Option(
        "--append",
        help="Add SOURCE to what is there: new dates, instruments and universe spans. Instruments whose history is "
        "another now are written again and named.",
    ),
]
CompactOption = Annotated[
    bool, typer.Option("--compact", help="Join the files that appends have added; without SOURCE nothing else.")
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("import")(command(import_))


def import_(
    out: Output,
    to: ToOption,
    source: SourceArgument = None,
    format: FormatOption = None,
    universe: UniverseOption = None,
    columns: ColumnsOption = None,
    frequency: FrequencyOption = None,
    encoding: EncodingOption = None,
    calendar: CalendarOption = None,
    min_date_coverage: CoverageOption = None,
    market: MarketOption = None,
    adjust: AdjustOption = None,
    replace: ReplaceOption = False,
    append: AppendOption = False,
    compact: CompactOption = False,
) -> None:
    """Import bars; importing the same again changes nothing."""
    from raybench.market.importing.append import append_bars, compact_bars, frequency_of
    from raybench.market.importing.job import check_target, import_bars
    from raybench.market.sessions import check_market
    from raybench.market.sources import open_source
    from raybench.market.sources.spans_file import read_spans

    given = {
        **{"--format": format, "--universe": universe, "--columns": columns, "--frequency": frequency},
        **{"--encoding": encoding, "--calendar": calendar, "--min-date-coverage": min_date_coverage},
        **{"--market": market, "--adjust": adjust, "--replace": replace or None},
    }
    options = [name for name, value in given.items() if value is not None and value != []]
    _check_usage(source, options, replace=replace, append=append, compact=compact)
    out.keeps(f"{to} is whole, as it was or with all of the new bars; the same command does the rest")
    if source is None:
        _say(out, to, compact_bars(to, progress=out.progress))
        return
    mapping = dict(pairs(columns or (), "--columns", "THEIRS=OURS"))
    files = dict(pairs(universe or (), "--universe", "NAME=FILE", split=False))
    rules = date_rules(calendar, min_date_coverage)
    if market is not None:
        check_market(market)
    check_target(to, replace=replace)  # before a source is read that may take minutes
    if append and frequency is None:
        frequency = frequency_of(to)
    read = partial(open_source, columns=mapping, frequency=frequency, encoding=encoding, others=bool(files))
    opened = read(source, format, progress=out.progress)
    universes = {name: read_spans(file, name, encoding) for name, file in files.items()}
    chosen: dict[str, Any] = {"universes": universes, "rules": rules, "adjust": adjust, "market": market}
    bring = partial(append_bars, compact=compact) if append else partial(import_bars, replace=replace)
    _say(out, to, bring(opened, to, **chosen, progress=out.progress))


def _check_usage(source: str | None, given: Sequence[str], *, replace: bool, append: bool, compact: bool) -> None:
    if source is None and not compact:
        raise DataError("nothing to import; name a SOURCE, or --compact to join the files that are there")
    if append and replace:
        raise DataError("--append adds to what is there, --replace takes its place; give one of them")
    if source is None and append:
        raise DataError("--append without a SOURCE to add; name one, or leave --append out")
    if source is None and given:
        raise DataError(
            f"--compact without a SOURCE joins files and changes nothing else; leave {', '.join(given)} out, or name a "
            "SOURCE with --append"
        )
    if source is not None and compact and not append:
        raise DataError("--compact joins what --append has added, an import makes all files anew; leave it out")


def _say(out: Output, to: str, done: Any) -> None:
    """Tell what became of the dataset."""
    for line in done.warnings:
        out.warn(line)
    for note in done.notes:
        out.progress.note(note)
    said = summary(done)
    title = f"{done.uri}: {_deed(said)}" if done.changed else f"{done.uri}: {SAME}"
    then = after_import(to)
    out.summary(said, title=title, told=_told(said), then=then)


SAME = "holds the same bars already, nothing changed"


def _deed(said: Mapping[str, Any]) -> str:
    """What was done, in a few words."""
    if "appended" not in said:
        return "imported"
    added = said["appended"]
    if not added["rows"] and not added["changed"]:
        return "files joined" if added["joined"] else "universes brought up to date"
    dates = f", {added['first']} to {added['last']}" if added["dates"] > 1 else f", {added['first']}"
    return f"appended {numbered(added['rows'], 'row|rows')}, {numbered(added['dates'], 'new date|dates')}" + (
        dates if added["dates"] else ""
    )


def _told(said: Mapping[str, Any]) -> list[str]:
    """What is in the bars now, in words."""
    return [
        *_brought(said.get("appended")),
        f"{numbered(said['instruments'], 'instrument|instruments')}, {numbered(said['rows'], 'row|rows')}, "
        f"frequency {said['frequency']}",
        f"{numbered(said['dates'], 'date|dates')}, {said['first']} to {said['last']}",
        f"fields {', '.join(said['fields'])}",
        f"universes {', '.join(said['universes'])}",
    ]


def _brought(added: Mapping[str, Any] | None) -> list[str]:
    """Who is new, and whose history is another now, in words."""
    if added is None:
        return []
    lines = []
    if added["new"]:
        lines.append(f"{numbered(len(added['new']), 'new instrument|instruments')}: {some(added['new'])}")
    if added["changed"]:
        since = [f"{name} from {when}" for name, when in added["changed"].items()]
        lines.append(
            f"{numbered(len(since), 'instrument|instruments has|have')} another history now: {some(since)}; scores of "
            f"dates from {min(added['changed'].values())} on were made from the one before"
        )
    return lines


def some(names: Sequence[str], at_most: int = 5) -> str:
    """The first few of many."""
    return ", ".join(names[:at_most]) + (", ..." if len(names) > at_most else "")


def date_rules(calendar: str | None, min_coverage: float | None) -> Any:
    """Which dates of a table count, as the options say; None if they say nothing."""
    from raybench.market.census import MIN_COVERAGE, DateRules
    from raybench.market.sources.days_file import read_days

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
    added = getattr(done, "appended", None)
    return {
        "bars": done.uri,
        "changed": done.changed,
        **({} if added is None else {"appended": dataclasses.asdict(added)}),
        "instruments": len(metadata.histories.instruments),
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
