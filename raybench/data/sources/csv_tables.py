"""CSV files as tables: every cell arrives as text, and what cannot be read names its row."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv

from raybench.data import storage
from raybench.data.sources.typed import mostly_numbers
from raybench.errors import DataError

FORMAT = "csv"
SUFFIXES = (".csv", ".csv.gz", ".csv.zst")
BLOCK_BYTES = 32 << 20


def header(file: str) -> list[str]:
    """The names of the columns."""
    line = b""
    with storage.open_stream(file) as stream:
        while b"\n" not in line:
            more = stream.read(1 << 16)
            if not more:
                break
            line += more
    try:
        text = line.partition(b"\n")[0].decode("utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(f"{file}: is not UTF-8 text") from None
    names = [name.strip() for name in next(csv.reader([text.rstrip("\r")]), [])]
    twice = [name for name in names if name and names.count(name) > 1]
    if twice or not any(names):
        raise DataError(f"{file}: {'has two columns ' + twice[0] if twice else 'has no header'}")
    return names


def numeric(file: str, column: str) -> bool | None:
    """Whether a column holds numbers, by the first rows that say something; None if none does."""
    answers = (mostly_numbers(batch.column(column)) for _, batch in pieces(file, [column]))
    return next((answer for answer in answers if answer is not None), None)


def pieces(file: str, columns: Sequence[str]) -> Iterator[tuple[int, Any]]:
    """Some rows at a time: the number of rows before them, and a record batch of text columns."""
    names = header(file)
    read = pacsv.ReadOptions(
        use_threads=False,  # only then does a parse error know its row
        block_size=BLOCK_BYTES,
        skip_rows=1,
        column_names=[name or f"unnamed {i}" for i, name in enumerate(names)],
    )
    convert = pacsv.ConvertOptions(
        include_columns=list(columns),
        column_types={name: pa.string() for name in columns},
        strings_can_be_null=True,
        null_values=[""],
    )
    first_row = 0
    with storage.open_stream(file) as stream:
        try:
            for batch in pacsv.open_csv(stream, read_options=read, convert_options=convert):
                yield first_row, batch
                first_row += batch.num_rows
        except pa.ArrowInvalid as error:
            if "Empty CSV file" not in str(error):  # a header and no rows
                raise DataError(f"{file}: {' '.join(str(error).split())}") from None
