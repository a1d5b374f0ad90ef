"""What of a source is not read, and looks as if somebody meant it to be: files of other endings, columns of names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import Any, Protocol

import pyarrow.compute as pc

from raybench.columns import moments
from raybench.storage import files as storage

ROW_NUMBERS = re.compile(r"__index_level_\d+__|Unnamed: \d+")  # what pandas calls a column without a name
MANY_ROWS = 5  # that a name stands on, or more

_DATA = tuple(
    f".{name}{packed}"
    for name in (
        *(
            "csv",
            "txt",
            "tsv",
            "tab",
            "psv",
            "dat",
            "json",
            "jsonl",
            "ndjson",
            "parquet",
            "pq",
            "parq",
            "feather",
            "arrow",
        ),
        *(
            "orc",
            "avro",
            "xls",
            "xlsx",
            "xlsm",
            "xlsb",
            "ods",
            "pkl",
            "pickle",
            "h5",
            "hdf",
            "hdf5",
            "npz",
            "mat",
            "dta",
        ),
    )
    for packed in ("", ".gz", ".zst", ".bz2", ".xz", ".zip", ".lz4")
)


class Pieces(Protocol):
    """How to read one kind of table file."""

    def header(self, file: str) -> list[str]: ...
    def pieces(self, file: str, columns: Sequence[str]) -> Iterator[tuple[int, Any]]: ...


def unread_files(root: str, read: Sequence[str]) -> list[str]:
    """Files below the source that look like data and are none of those that are read."""
    there = sorted(set(storage.list_files(root, _DATA)) - set(read))
    return [file.removeprefix(root).strip("/") for file in there]


def names_of_several(kind: Pieces, file: str, read: Collection[str]) -> list[str]:
    """Columns of text that are not ``read``, in a file named after one instrument, and may be the names of several.

    They say a few things, each on many rows.
    """
    said = []
    for name in [name for name in kind.header(file) if name not in read and not ROW_NUMBERS.fullmatch(name)]:
        values: Counter[str] = Counter()
        for _, batch in kind.pieces(file, [name]):
            if not moments.is_text(batch.column(name).type):
                break
            written = pc.drop_null(moments.flat(batch.column(name)))
            values.update({each["values"]: each["counts"] for each in written.value_counts().to_pylist()})
        if 1 < len(values) <= sum(values.values()) / MANY_ROWS:
            said.append(f"{name} ({', '.join(list(values)[:2])}, ...)")
    return said
