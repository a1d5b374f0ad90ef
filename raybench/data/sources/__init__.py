"""Where bars come from: a Qlib provider, CSV or Parquet tables, memory."""

from __future__ import annotations

from collections.abc import Mapping

from raybench.data import storage
from raybench.data.sources import csv_tables, parquet_tables
from raybench.data.sources.qlib_bin import open_qlib
from raybench.data.sources.source import MemorySource, Source, memory_source
from raybench.data.sources.tables import TableFormat, open_tables
from raybench.errors import DataError
from raybench.progress import SILENT, Progress

FORMATS = ("qlib", "csv", "parquet")

__all__ = ["FORMATS", "MemorySource", "Source", "detect_format", "memory_source", "open_source"]


def open_source(
    uri: storage.Uri,
    format: str | None = None,
    *,
    columns: Mapping[str, str] | None = None,
    frequency: str | None = None,
    encoding: str | None = None,
    progress: Progress = SILENT,
) -> Source:
    """Open and check a source of bars; ``format`` is found out if it is not given, ``encoding`` is of CSV."""
    kind = format or detect_format(uri)
    if not storage.exists(uri):
        raise DataError(f"{uri}: there is no such file or folder")
    if kind == "qlib" and encoding is not None:
        raise DataError(f"--encoding {encoding}: is for CSV, and {uri} is a Qlib provider; leave it out")
    if kind == "qlib":
        if columns:
            raise DataError("--columns is for tables; the fields of a Qlib provider have their names already")
        return open_qlib(uri, frequency)
    if kind not in FORMATS:
        raise DataError(f"{kind} is no format (--format); want one of {', '.join(FORMATS)}")
    if encoding is not None and kind != "csv":
        raise DataError(f"--encoding {encoding}: is for CSV, and {uri} is {kind}; leave it out")
    tables: TableFormat = csv_tables.CsvTables(encoding=encoding) if kind == "csv" else parquet_tables
    return open_tables(uri, tables, columns=columns, frequency=frequency, progress=progress)


def detect_format(uri: storage.Uri) -> str:
    """Which of ``FORMATS`` is there, by the names of files and folders."""
    if not storage.exists(uri):
        raise DataError(f"{uri}: there is no such file or folder")
    if {"calendars", "features"} <= {n.lower() for n in (storage.children(uri) if storage.is_folder(uri) else ())}:
        return "qlib"
    found: list[str] = [
        kind.FORMAT
        for kind in (csv_tables, parquet_tables)
        if any(file.lower().endswith(kind.SUFFIXES) for file in storage.list_files(uri, kind.SUFFIXES))
    ]
    if len(found) != 1:
        has = f"holds {' and '.join(found)} files" if found else "holds none of our formats"
        raise DataError(f"{uri}: {has}; say which with --format {','.join(FORMATS)}")
    return found[0]
