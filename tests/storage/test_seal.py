"""A Parquet file hashes itself in bytes that every other reader passes over."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raybench.errors import DataError
from raybench.storage import seal
from raybench.storage.encoding import encode_table
from raybench.storage.parquet import count_rows, read_table

LONG = pa.table({f"column{number}": np.arange(3) for number in range(1500)})  # its footer is longer than one read
SHORT = pa.table({"a": np.arange(5)})


@pytest.mark.parametrize("table", [SHORT, LONG])
def test_others_read_what_is_sealed(tmp_path: Path, table: pa.Table) -> None:
    data = encode_table(table)
    assert seal.MARK in data
    assert pq.read_table(pa.BufferReader(data)).equals(table)
    assert pl.read_parquet(io.BytesIO(data)).shape == table.shape
    (tmp_path / "t.parquet").write_bytes(data)
    assert read_table(tmp_path / "t.parquet").equals(table)


@pytest.mark.parametrize("table", [SHORT, LONG])
@pytest.mark.parametrize("place", [-20, -9])
def test_a_footer_is_compared_before_anybody_follows_it(tmp_path: Path, table: pa.Table, place: int) -> None:
    data = bytearray(encode_table(table))
    data[place] ^= 1
    (tmp_path / "t.parquet").write_bytes(data)
    with pytest.raises(DataError, match="is damaged"):
        count_rows(tmp_path / "t.parquet")


def test_a_header_of_a_page_is_compared_where_all_pages_are_read(tmp_path: Path) -> None:
    data = bytearray(encode_table(SHORT))
    data[6] ^= 1
    (tmp_path / "t.parquet").write_bytes(data)
    with pytest.raises(DataError, match="is damaged"):
        count_rows(tmp_path / "t.parquet")


def test_files_of_others_have_no_seal(tmp_path: Path) -> None:
    pq.write_table(SHORT, tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet").equals(SHORT)
