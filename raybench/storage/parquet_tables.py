"""Parquet files as tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from raybench.columns.typed import is_number
from raybench.storage import parquet

FORMAT = "parquet"
SUFFIXES = (".parquet", ".pq")


def header(file: str) -> list[str]:
    """The names of the columns."""
    return list(parquet.read_schema(file).names)


def numeric(file: str, column: str) -> bool | None:
    """Whether a column is of a type for numbers; None if it is of the type for nothing."""
    kind = parquet.read_schema(file).field(column).type
    return None if pa.types.is_null(kind) else is_number(kind)


def pieces(file: str, columns: Sequence[str]) -> Iterator[tuple[int, Any]]:
    """Some rows at a time: the number of rows before them, and a record batch."""
    first_row = 0
    for batch in parquet.batches(file, columns):
        yield first_row, batch
        first_row += batch.num_rows
