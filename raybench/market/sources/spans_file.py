"""A file of universe spans: ``instrument, start, end`` with a header (CSV, Parquet), or Qlib's three columns
separated by tabs (or blanks) without one. An empty end keeps the span open.

A list of names is one too, one a line or a column of a table that has no dates: members over the whole history. Columns
may have their customary names, such as ``con_code, in_date, out_date``.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from raybench.columns import moments
from raybench.columns.names import CUSTOMARY, plain
from raybench.columns.typed import datetimes, ends, names
from raybench.errors import DataError
from raybench.market.universe import ALWAYS, Universe, make_universe
from raybench.storage import csv_tables, files, parquet

COLUMNS = ("instrument", "start", "end")
_WANTED = "instrument, start, end, or a list of names"
_MEMBER = {"concode", "constituent", "constituents", "member", "constituentcode", "品种代码", "成分券代码"}
_CALLED: Mapping[str, frozenset[str]] = {
    "instrument": CUSTOMARY["instrument"] | _MEMBER,
    "start": frozenset(
        {"start", "startdate", "startdatetime", "indate", "from", "begin", "begindate", "纳入日期", "开始日期", "开始"}
    ),
    "end": frozenset({"end", "enddate", "enddatetime", "outdate", "to", "剔除日期", "结束日期", "结束"}),
}
_DATE = r"^(18|19|20|21)\d\d[-/.]?\d\d?[-/.]?\d\d?(\.0)?([ T].*)?$"
_SPACED = re.compile(r"\S+ +\d{4}-\d\d-\d\d +\d{4}-\d\d-\d\d")
HALF = 0.5
_SNAPSHOT = CUSTOMARY["datetime"] | {"updatedate", "asof", "asofdate"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cells:
    """The columns of a file by their names; ``skipped``: its lines before the first row, ``row``: what to call one."""

    columns: Mapping[str, Any]
    skipped: int = 0
    row: str = "row"


def read_spans(uri: files.Uri, name: str, encoding: str | None = None) -> Universe:
    """The universe ``name`` from a file; ``encoding`` is that of text which is neither UTF-8 nor UTF-16."""
    file = files.open_location(uri).uri
    cells = _of_parquet(file) if file.lower().endswith((".parquet", ".pq")) else _of_text(file, encoding)
    given = {ours: _column(file, cells, ours) for ours in COLUMNS}
    if given["instrument"] is None:
        raise DataError(f"{file}: has no column instrument; it has {', '.join(cells.columns)}; want {_WANTED}")
    some = len(given["instrument"]) > 0
    members = names(given["instrument"], where=file, first_row=cells.skipped).to_pylist() if some else []
    if given["start"] is None and given["end"] is None:
        _refuse_snapshots(file, cells)
        _refuse_other_dates(file, cells)
        members = sorted(set(members))
        still = np.full(len(members), np.datetime64("NaT", "us"))
        return make_universe(name, members, np.full(len(members), ALWAYS), still, where=file)
    for column in ("start", "end"):
        if given[column] is None:
            raise DataError(f"{file}: has no column {column}; want {_WANTED}")
    if not members:
        return make_universe(name, [], np.array([], "M8[us]"), np.array([], "M8[us]"), where=file)
    start_K = datetimes(given["start"], where=file, first_row=cells.skipped, row=cells.row, name="start")
    end_K = ends(given["end"], where=file, first_row=cells.skipped, row=cells.row)
    return make_universe(name, members, start_K, end_K, where=file)


def _column(file: str, cells: _Cells, ours: str) -> Any:
    """The column that is ours by its own or its only customary name; None without one."""
    if ours in cells.columns:
        return cells.columns[ours]
    fitting = [name for name in cells.columns if plain(name) in _CALLED[ours]]
    if len(fitting) > 1:
        raise DataError(f"{file}: {' and '.join(fitting[:2])} could both be the {ours}; name one of them {ours}")
    return cells.columns[fitting[0]] if fitting else None


def _refuse_snapshots(file: str, cells: _Cells) -> None:
    """Members by date are no list: taken for one, a member of one date would be one of all."""
    for name, column in cells.columns.items():
        if plain(name) in _SNAPSHOT and len({str(value) for value in column}) > 1:
            raise DataError(
                f"{file}: lists members by {name}, and not from when to when; want the columns instrument, start, end"
            )


def _refuse_other_dates(file: str, cells: _Cells) -> None:
    """Two columns of dates are from when to when: taken for a list, a member of some dates would be one of all."""
    dated = []
    for name, column in cells.columns.items():
        written = pc.drop_null(moments.blank(pc.utf8_trim_whitespace(moments.flat(column).cast(pa.string()))))
        if len(written) and pc.mean(pc.match_substring_regex(written, _DATE)).as_py() > HALF:
            dated.append(name)
    if len(dated) > 1:
        raise DataError(f"{file}: has dates in {' and '.join(dated)}, and no columns start and end; call them so")


def _of_parquet(file: str) -> _Cells:
    table = parquet.read_table(file)
    return _Cells(columns={name: table[name] for name in table.column_names})


def _of_text(file: str, encoding: str | None) -> _Cells:
    with files.open_stream(file) as stream:
        try:
            text = stream.read().decode(csv_tables.encoding_of(file, encoding)).removeprefix("\ufeff")
        except UnicodeError:
            raise csv_tables.undecodable(file, encoding) from None
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if lines and all(_SPACED.fullmatch(line.strip()) for line in lines):
        lines = ["\t".join(line.split()) for line in lines]
    delimiter = next((mark for mark in "\t;" if lines and mark in lines[0]), ",")
    rows = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=delimiter)]
    if not rows:
        return _Cells(columns={"instrument": []})
    if any(plain(cell) in _CALLED["instrument"] for cell in rows[0]):
        return _by_header(file, rows[0], rows[1:], delimiter)
    if max(map(len, rows)) == 1:
        return _Cells(columns={"instrument": [row[0] for row in rows]}, row="line")
    if delimiter != "\t":
        raise DataError(f"{file}: has no header; want the columns {_WANTED}")
    return _by_header(file, COLUMNS, rows, delimiter, skipped=0)


def _by_header(
    file: str, header: Sequence[str], rows: Sequence[Sequence[str]], delimiter: str, *, skipped: int = 1
) -> _Cells:
    """The cells of each column; those that are missing at the end of a row are empty."""
    member = next(i for i, cell in enumerate(header) if plain(cell) in _CALLED["instrument"])
    for line, row in enumerate(rows, start=skipped + 1):
        if len(row) <= member or not row[member]:
            raise DataError(f"{file}: line {line}: {delimiter.join(row)!r} is not {', '.join(header)}")
    columns = {name: [row[i] if i < len(row) else "" for row in rows] for i, name in enumerate(header) if name}
    return _Cells(columns=columns, skipped=skipped, row="line")
