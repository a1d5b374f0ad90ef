"""Where bars come from: a Qlib provider, CSV or Parquet tables, memory."""

from __future__ import annotations

from collections.abc import Mapping

from raybench.errors import DataError
from raybench.market.sources.qlib_bin import open_qlib
from raybench.market.sources.source import MemorySource, Source, memory_source
from raybench.market.sources.tables import TableFormat, open_tables
from raybench.progress import SILENT, Progress
from raybench.storage import csv_tables, files, parquet_tables
from raybench.storage.places import Kind, what_is

FORMATS = ("qlib", "csv", "parquet")

__all__ = [
    "FORMATS",
    "MemorySource",
    "Source",
    "clocks",
    "days_file",
    "detect_format",
    "letter_case",
    "memory_source",
    "open_source",
    "row_dates",
    "source",
    "spans_file",
    "spool",
    "tables",
]


def open_source(
    uri: files.Uri,
    format: str | None = None,
    *,
    columns: Mapping[str, str] | None = None,
    frequency: str | None = None,
    encoding: str | None = None,
    others: bool = False,
    progress: Progress = SILENT,
) -> Source:
    """Open and check a source of bars; ``format`` is found out if it is not given, ``encoding`` is of CSV.

    ``others``: files beside the source are read in that encoding, which so may say nothing to the source itself.
    """
    if what_is(uri) is Kind.BARS and "bars" in files.children(uri):
        raise DataError(
            f"{uri}: is a bars dataset already, which an import makes; commands take it as it is (--bars, data.bars); "
            "to import again, name what it was made from"
        )
    kind = format or detect_format(uri)
    if not files.exists(uri):
        raise DataError(f"{uri}: there is no such file or folder")
    if kind == "qlib" and encoding is not None and not others:
        raise DataError(f"--encoding {encoding}: is for CSV, and {uri} is a Qlib provider; leave it out")
    if kind == "qlib":
        if columns:
            raise DataError("--columns is for tables; the fields of a Qlib provider have their names already")
        return open_qlib(uri, frequency)
    if kind not in FORMATS:
        raise DataError(f"{kind} is no format (--format); want one of {', '.join(FORMATS)}")
    if encoding is not None and kind != "csv" and not others:
        raise DataError(f"--encoding {encoding}: is for CSV, and {uri} is {kind}; leave it out")
    tables: TableFormat = (
        csv_tables.CsvTables(encoding=encoding, texts=format == "csv") if kind == "csv" else parquet_tables
    )
    return open_tables(uri, tables, columns=columns, frequency=frequency, progress=progress)


def detect_format(uri: files.Uri) -> str:
    """Which of ``FORMATS`` is there, by the names of files and folders."""
    if not files.exists(uri):
        raise DataError(f"{uri}: there is no such file or folder")
    if {"calendars", "features"} <= {n.lower() for n in (files.children(uri) if files.is_folder(uri) else ())}:
        return "qlib"
    found: list[str] = [
        kind.FORMAT
        for kind in (csv_tables, parquet_tables)
        if any(file.lower().endswith(kind.SUFFIXES) for file in files.list_files(uri, kind.SUFFIXES))
    ]
    if len(found) > 1:
        raise DataError(f"{uri}: holds {' and '.join(found)} files; say which with --format {','.join(FORMATS)}")
    if not found:
        raise DataError(f"{uri}: {_none_of_ours(uri)}")
    return found[0]


def _none_of_ours(uri: files.Uri) -> str:
    """What is there instead, and what could be read."""
    there = [files.name_of(file) for file in files.list_files(uri)]
    has = f"holds none of our formats{f', but {there[0]}' if there else ': no file at all'}"
    if any(name.lower().endswith(csv_tables.TEXTS) for name in there):
        return f"{has}; --format csv reads {', '.join(csv_tables.TEXTS[:: len(csv_tables.PACKED)])} as well"
    wanted = ", ".join((*csv_tables.SUFFIXES, *parquet_tables.SUFFIXES))
    return f"{has}; want {wanted}, or a Qlib provider with calendars/ and features/ (--format {','.join(FORMATS)})"
