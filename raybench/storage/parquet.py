"""Reading Parquet: the only place that opens such files.

A table somebody else made can run code: pyarrow builds extension types while it opens a file, and Ray
registers types that unpickle what they find. So the footer is searched as plain bytes before pyarrow
sees the file, and a file with an extension type or a nested column is refused as a whole.
"""

from __future__ import annotations

import base64
import bisect
import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from raybench.columns import moments
from raybench.columns.moments import Moment, end_moment, moment
from raybench.errors import DataError
from raybench.reports.text import numbered
from raybench.storage import seal
from raybench.storage.files import Uri, list_files, name_of, open_input, open_location, read_bytes
from raybench.storage.losses import is_loss

MAGIC = b"PAR1"
TAIL_BYTES = 1 << 16  # read at once in search of the footer: on S3 each read is a question
AGAIN = "; make it again from its source"
_DAMAGED = f"is damaged: its content is not what was written{AGAIN}"


class DamagedError(DataError):
    """A file is not what was written; whoever knows its source says how it is made again, in place of ``AGAIN``."""


def read_schema(uri: Uri) -> Any:
    """The Arrow schema of a file, all of it plain columns."""
    with _opened(uri) as file:
        return file.schema_arrow


def read_metadata(uri: Uri) -> dict[str, str]:
    """The key-value pairs in the footer of a file, but for Arrow's own."""
    with _opened(uri) as file:
        return _pairs(file)


def _pairs(file: Any) -> dict[str, str]:
    pairs = file.metadata.metadata or {}
    return {k.decode(errors="replace"): v.decode(errors="replace") for k, v in pairs.items() if k != b"ARROW:schema"}


def metadata_of(data: bytes, uri: Uri) -> dict[str, str]:
    """The same of a small file that is in memory; ``uri`` is what it is called in errors."""
    with _parsed(pa.BufferReader(data), uri) as file:
        return _pairs(file)


def table_of(data: bytes, uri: Uri, columns: Sequence[str] | None = None) -> tuple[Any, dict[str, str]]:
    """Columns of a small file that is in memory, and the pairs in its footer; ``uri`` is what errors call it."""
    with _parsed(pa.BufferReader(data), uri) as file:
        names = list(file.schema_arrow.names if columns is None else columns)
        _check_columns(uri, file.schema_arrow, names)
        return _without_views(_read(file, names)), _pairs(file)


def count_rows(uri: Uri) -> int:
    """How many rows a file has."""
    with _opened(uri) as file:
        return int(file.metadata.num_rows)


def read_table(
    uri: Uri | Sequence[Uri],
    columns: Sequence[str] | None = None,
    instruments: Sequence[str] | None = None,
    start: Moment | None = None,
    end: Moment | None = None,
) -> Any:
    """One Arrow table from a file, a folder or a list of files, in that order.

    ``instruments`` and the inclusive range ``start`` to ``end`` choose rows by the columns ``instrument`` and
    ``datetime``; row groups that hold none of them are not read. An ``end`` without a time is that whole day.
    """
    files = parquet_files(uri)
    begin, stop = moment(start), end_moment(end)
    wanted = None if instruments is None else sorted(set(instruments))
    tables = [_read_file(file, columns, wanted, begin, stop) for file in files]
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except (pa.ArrowTypeError, pa.ArrowInvalid):
        raise DataError(_unlike(files, [table.schema for table in tables])) from None


def _unlike(files: Sequence[str], schemas: Sequence[Any]) -> str:
    """Name the first column that two files have of types which nothing holds both of."""
    for file, schema in zip(files[1:], schemas[1:], strict=True):
        for first, here in zip(schemas[0], (schema.field(name) for name in schemas[0].names), strict=True):
            try:
                pa.unify_schemas([pa.schema([first]), pa.schema([here])], promote_options="permissive")
            except (pa.ArrowTypeError, pa.ArrowInvalid):
                return (
                    f"{file}: column {here.name} is of type {here.type}, and of type {first.type} in "
                    f"{name_of(files[0])}; want one type in all files"
                )
    return f"{files[0]}: the files beside it have columns of other types; want one type in all files"


def read_whole(uri: Uri, columns: Sequence[str], sha256: str) -> Any:
    """One small file, read at once; DataError if the hash of its content does not begin with ``sha256``."""
    data = read_bytes(uri)
    if not hashlib.sha256(data).hexdigest().startswith(sha256):
        raise DamagedError(f"{uri}: {_DAMAGED}")
    with _parsed(pa.BufferReader(data), uri) as file:
        _check_columns(uri, file.schema_arrow, columns)
        return _read(file, columns)


def _read(file: Any, columns: Sequence[str]) -> Any:
    """Columns of a file in memory, by this thread.

    One of Arrow's may hold the bytes for a moment longer than the call takes; where the interpreter ends meanwhile, the
    process does as if it had crashed.
    """
    return file.read(columns=list(columns), use_threads=False)


def read_groups(
    uri: Uri,
    columns: Sequence[str],
    instruments: Sequence[str],
    start: np.datetime64 | None,
    end: np.datetime64 | None,
    *,
    footer: str = "",
) -> Any:
    """The row groups of a file that may hold a row of ``instruments`` (sorted) from ``start`` to ``end``, whole.

    Sorted into them by ``instrument``, which is dictionary-encoded in the table, and ``datetime``. ``footer``: the hash
    that ``footer_hash`` gave when it was written; DataError if it is another now.
    """
    names = ["instrument", "datetime", *columns]
    with _opened(uri, footer, dictionaries=names[:1]) as file:
        _check_columns(uri, file.schema_arrow, names)
        wanted = list(instruments)
        groups = [i for i in range(file.num_row_groups) if _may_hold(file, i, wanted, start, end)]
        return file.read_row_groups(groups, columns=names).unify_dictionaries()


def batches(uri: Uri, columns: Sequence[str], rows: int = 500_000) -> Iterator[Any]:
    """The record batches of a file from front to back."""
    with _opened(uri) as file:
        _check_columns(uri, file.schema_arrow, columns)
        yield from file.iter_batches(batch_size=rows, columns=list(columns))


def parquet_files(uri: Uri | Sequence[Uri]) -> list[str]:
    """The Parquet files that an address, or a list of them, stands for."""
    if not isinstance(uri, str) and isinstance(uri, Sequence):
        return [file for one in uri for file in parquet_files(one)]
    place = open_location(uri)
    files = list_files(place.uri, (".parquet", ".pq"))
    if not files:
        raise DataError(f"{place.uri}: there is no Parquet file here; want a .parquet file or a folder of them")
    return files


def check_plain(schema: Any, uri: Uri) -> None:
    """Refuse a schema with columns other than plain values."""
    for field in schema:
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        if isinstance(kind, pa.BaseExtensionType) or pa.types.is_nested(kind):
            raise DataError(f"{uri}: column {field.name} is of type {kind}; want plain columns only; leave it out")


def footer_hash(data: bytes) -> str:
    """The hash of the footer of a Parquet file in memory: where its pages lie and what they are."""
    return hashlib.sha256(_footer(pa.BufferReader(data), "memory")).hexdigest()


@contextlib.contextmanager
def _opened(uri: Uri, footer: str = "", dictionaries: Sequence[str] = ()) -> Iterator[Any]:
    with open_input(uri) as stream, _parsed(stream, uri, footer, dictionaries) as file:
        yield file


@contextlib.contextmanager
def _parsed(stream: Any, uri: Uri, footer: str = "", dictionaries: Sequence[str] = ()) -> Iterator[Any]:
    """A file of plain columns; a page that carries a checksum has to match it."""
    try:
        raw = _footer(stream, uri)
        _refuse_extensions(raw, uri)
        if footer and hashlib.sha256(raw).hexdigest() != footer:
            raise DamagedError(f"{uri}: {_DAMAGED}")
        known = pq.read_metadata(pa.BufferReader(MAGIC + raw + len(raw).to_bytes(4, "little") + MAGIC))
        file = pq.ParquetFile(
            stream, metadata=known, page_checksum_verification=True, read_dictionary=list(dictionaries)
        )
        check_plain(file.schema_arrow, uri)
        yield file
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        if is_loss(error):  # it says nothing of the file
            raise
        text = " ".join(str(error).split())
        told = _DAMAGED if "checksum" in text else f"cannot be read as Parquet: {text}"
        raise DamagedError(f"{uri}: {told}") from error


def _footer(stream: Any, uri: Uri) -> bytes:
    """The raw footer, before anything takes it for what it says."""
    size = stream.size()
    stream.seek(max(size - TAIL_BYTES, 0))
    tail = bytes(stream.read(TAIL_BYTES))
    length = int.from_bytes(tail[-8:-4], "little")
    if len(tail) < 8 or tail[-4:] != MAGIC or length > size - 8:
        raise DamagedError(f"{uri}: is not a Parquet file, or was cut short")
    if length + 8 + seal.BYTES <= len(tail) or len(tail) == size:
        before, raw = tail[: len(tail) - 8 - length], tail[len(tail) - 8 - length : -8]
    else:
        at = max(size - 8 - length - seal.BYTES, 0)
        stream.seek(at)
        tail = bytes(stream.read(size - 8 - at))
        before, raw = tail[: len(tail) - length], tail[len(tail) - length :]
    if not seal.is_whole(before, raw, all_pages=len(before) + length + 8 == size):
        raise DamagedError(f"{uri}: {_DAMAGED}")
    return raw


def _refuse_extensions(footer: bytes, uri: Uri) -> None:
    """Look for the key of an extension type in the raw footer, where the Arrow schema is kept in base64."""
    if any(mark in footer for mark in _MARKS):
        raise DataError(
            f"{uri}: holds a column of an extension type (pickled objects, tensors), which could run code; "
            "want plain columns only, write the table without it"
        )


def _base64_marks(needle: bytes) -> tuple[bytes, ...]:
    """How ``needle`` looks within base64 text at each of the three alignments, its shared ends cut off."""
    texts = [base64.b64encode(bytes(shift) + needle) for shift in range(3)]
    # 4 characters carry 3 bytes: those that carry a bit of a neighbour say nothing certain
    return tuple(t[(shift * 8 + 5) // 6 : (shift + len(needle)) * 8 // 6] for shift, t in enumerate(texts))


_MARKS = (b"ARROW:extension:name", *_base64_marks(b"ARROW:extension:name"))


def _read_file(
    uri: str,
    columns: Sequence[str] | None,
    instruments: list[str] | None,
    start: np.datetime64 | None,
    end: np.datetime64 | None,
) -> Any:
    with _opened(uri) as file:
        keys = [*(["instrument"] if instruments is not None else [])]
        keys += ["datetime"] if start is not None or end is not None else []
        names = list(file.schema_arrow.names if columns is None else columns)
        _check_columns(uri, file.schema_arrow, [*names, *keys])
        groups = [i for i in range(file.num_row_groups) if _may_hold(file, i, instruments, start, end)]
        table = _without_views(file.read_row_groups(groups, columns=[*names, *(k for k in keys if k not in names)]))
    if keys:
        table = table.filter(_mask(table, uri, instruments, start, end))
    return table.select(names)


def _mask(table: Any, uri: str, instruments: list[str] | None, start: Any, end: Any) -> Any:
    mask = None
    if instruments is not None:
        named = moments.texts(table["instrument"], where=uri)
        mask = pc.is_in(named, value_set=pa.array(instruments, pa.string()))
    if start is not None or end is not None:
        when = moments.stamps(table["datetime"], where=uri)
        if when.null_count:  # it would lie in no range, and go without a word
            raise DataError(
                f"{uri}: {numbered(when.null_count, 'row|rows has|have')} no datetime; want one in every row"
            )
        for bound, compare in ((start, pc.greater_equal), (end, pc.less_equal)):
            if bound is not None:
                here = compare(when, pa.scalar(bound.astype(datetime), moments.STAMP))
                mask = here if mask is None else pc.and_(mask, here)
    return mask


def _may_hold(file: Any, group: int, instruments: list[str] | None, start: Any, end: Any) -> bool:
    """Whether the statistics of a row group leave room for a wanted row."""
    wanted: dict[str, tuple[Any, Any]] = {}
    if instruments is not None and not instruments:
        return False
    if start is not None or end is not None:
        wanted["datetime"] = (
            None if start is None else start.astype(datetime),
            None if end is None else end.astype(datetime),
        )
    meta = file.metadata.row_group(group)
    for index in range(meta.num_columns):
        column = meta.column(index)
        named = instruments is not None and column.path_in_schema == "instrument"
        low, high = wanted.get(column.path_in_schema, (None, None))
        stats = column.statistics if (named or low is not None or high is not None) and column.is_stats_set else None
        if stats is None or not stats.has_min_max or _padded(stats.min) or _padded(stats.max):
            continue
        if named and isinstance(stats.min, str):
            at = bisect.bisect_left(instruments or (), stats.min)
            if at == len(instruments or ()) or (instruments or ())[at] > stats.max:
                return False
        with contextlib.suppress(TypeError):  # dates, zones and the like do not compare: read the group
            if (low is not None and stats.max < low) or (high is not None and stats.min > high):
                return False
    return True


def _without_views(table: Any) -> Any:
    """Views of text as text: most of what Arrow computes does not know views."""
    plain = {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}
    views = [field.with_type(plain[field.type]) if field.type in plain else field for field in table.schema]
    return table.cast(pa.schema(views, metadata=table.schema.metadata))


def _padded(value: Any) -> bool:
    """Whether text has blanks around it, which are not part of what it says: the statistics say little then."""
    return isinstance(value, str) and value != value.strip()


def _check_columns(uri: Uri, schema: Any, columns: Sequence[str]) -> None:
    missing = [c for c in columns if c not in schema.names]
    if missing:
        has = ", ".join(schema.names[:12]) + (" ..." if len(schema.names) > 12 else "")
        raise DataError(f"{name_of(uri)}: has no column {', '.join(missing[:5])}; it has {has}")
