"""A file of universe spans: ``instrument, start, end`` with a header (CSV, Parquet), or Qlib's three columns
separated by tabs without one. An empty end keeps the span open.
"""

from __future__ import annotations

import csv

from raybench.data import parquet, storage
from raybench.data.sources.typed import datetimes, ends, names
from raybench.data.universe import Universe, make_universe
from raybench.errors import DataError

COLUMNS = ("instrument", "start", "end")


def read_spans(uri: storage.Uri, name: str) -> Universe:
    """The universe ``name`` from a file."""
    file = storage.open_location(uri).uri
    if file.endswith((".parquet", ".pq")):
        table = parquet.read_table(file, columns=COLUMNS)
        rows = [names(table["instrument"], where=file).to_pylist()]
        start_K = datetimes(table["start"], where=file, name="start")
        end_K = ends(table["end"], where=file)
        return make_universe(name, rows[0], start_K, end_K, where=file)
    with storage.open_stream(file) as stream:
        try:
            text = stream.read().decode("utf-8-sig")
        except UnicodeDecodeError:
            raise DataError(f"{file}: is not text; want instrument, start, end") from None
    lines = [line for line in text.splitlines() if line.strip()]
    delimiter = "\t" if lines and "\t" in lines[0] else ","
    cells = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=delimiter)]
    order, skipped = (0, 1, 2), 0
    if cells and "instrument" in cells[0]:
        missing = [c for c in COLUMNS if c not in cells[0]]
        if missing:
            raise DataError(f"{file}: has no column {missing[0]}; want instrument, start, end")
        order = (cells[0].index("instrument"), cells[0].index("start"), cells[0].index("end"))
        skipped = 1
    elif delimiter == "," and cells:
        raise DataError(f"{file}: has no header; want the columns instrument, start, end")
    members, starts, lasts = [], [], []
    for line, row in enumerate(cells[skipped:], start=skipped + 1):
        if len(row) <= max(order[:2]) or not row[order[0]]:
            raise DataError(f"{file}: line {line}: {','.join(row)!r} is not instrument, start, end")
        members.append(row[order[0]])
        starts.append(row[order[1]])
        lasts.append(row[order[2]] if len(row) > order[2] else "")
    start_K = datetimes(starts, where=file, first_row=skipped, row="line", name="start")
    end_K = ends(lasts, where=file, first_row=skipped, row="line")
    return make_universe(name, members, start_K, end_K, where=file)
