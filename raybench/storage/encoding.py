"""Arrow tables as the bytes of Parquet files, checksums and hashes included: what ``files`` publishes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow.parquet as pq

from raybench.storage.seal import sealed


def encode_table(
    table: Any,
    *,
    metadata: Mapping[str, str] | None = None,
    row_groups: Sequence[int] | None = None,
    **options: Any,
) -> bytes:
    """An Arrow table as the bytes of a Parquet file: equal tables give equal bytes.

    ``row_groups`` lists how many rows each row group takes; ``metadata`` replaces the table's own.
    ``options`` are those of ``pyarrow.parquet.ParquetWriter``. Every page carries a checksum, and the file hashes of
    itself (``storage.seal``), which readers verify.
    """
    if metadata is not None:
        table = table.replace_schema_metadata(dict(metadata))
    lengths = [table.num_rows] if row_groups is None else list(row_groups)
    assert sum(lengths) == table.num_rows
    sink = io.BytesIO()
    with pq.ParquetWriter(
        sink, table.schema, **{"compression": "zstd", "write_page_checksum": True, **options}
    ) as writer:
        start = 0
        for length in lengths:
            writer.write_table(table.slice(start, length), row_group_size=max(length, 1))
            start += length
    return sealed(sink.getvalue())
