"""Reading Parquet: what is refused, and which rows are read."""

from __future__ import annotations

import hashlib
import pickle
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raybench.errors import DataError
from raybench.storage import parquet


@pytest.fixture
def bars(tmp_path: Path) -> Path:
    """Three row groups, one per instrument, four days each."""
    days = np.arange("2020-01-01", "2020-01-05", dtype="datetime64[D]").astype("datetime64[us]")
    folder = tmp_path / "bars"
    folder.mkdir()
    with pq.ParquetWriter(folder / "x.parquet", _table("A", days).schema) as writer:
        for name in "ABC":
            writer.write_table(_table(name, days))
    return folder


def _table(name: str, days: Any) -> Any:
    close = pa.array(np.arange(4, dtype=np.float32))
    return pa.table({"instrument": pa.array([name] * 4), "datetime": pa.array(days), "close": close})


class Pickled(pa.ExtensionType):
    """What Ray's own type looks like in a file: a name, and bytes that are a pickle."""

    def __init__(self) -> None:
        super().__init__(pa.binary(), "ray.data.arrow_pickled_object")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type: Any, serialized: bytes) -> Any:
        raise AssertionError("the type of a column in somebody's file was built")


@pytest.mark.parametrize("padding", range(3))
def test_a_pickled_column_is_refused_before_arrow_builds_its_type(tmp_path: Path, padding: int) -> None:
    """The Arrow schema is base64 in the footer: the mark is found at each of its alignments."""
    file = tmp_path / "evil.parquet"
    cell = pa.array([pickle.dumps(print)], pa.binary())
    evil = pa.ExtensionArray.from_storage(Pickled(), cell)
    name = "x" * (1 + padding)
    pq.write_table(pa.table({"instrument": ["A"], name: evil}), file)
    registered = _ours_registered()
    try:
        for read in (parquet.read_schema, parquet.read_table, parquet.read_metadata, parquet.count_rows):
            with pytest.raises(DataError, match="extension type"):
                read(file)
        with pytest.raises(DataError, match="extension type"):
            next(parquet.batches(file, ["instrument"]))
        with pytest.raises(DataError, match="extension type"):
            parquet.read_groups(file, [], ["A"], None, None)
    finally:
        if registered:
            pa.unregister_extension_type("ray.data.arrow_pickled_object")


def _ours_registered() -> bool:
    """Register the type that must not be built, unless a test before has loaded Ray Data's own."""
    try:
        pa.register_extension_type(Pickled())
    except pa.ArrowKeyError:
        return False
    return True


@pytest.mark.parametrize("padding", range(6))
def test_the_mark_is_found_whatever_stands_before_it(padding: int) -> None:
    import base64

    text = base64.b64encode(b"x" * padding + b"ARROW:extension:name" + b"y" * padding)
    assert sum(mark in text for mark in parquet._MARKS) == 1


@pytest.mark.parametrize("column", [pa.array([[1.0]]), pa.array([{"a": 1}])])
def test_nested_columns_are_refused(tmp_path: Path, column: Any) -> None:
    pq.write_table(pa.table({"x": column}), tmp_path / "x.parquet")
    with pytest.raises(DataError, match=r"column x is of type .*plain columns"):
        parquet.read_table(tmp_path / "x.parquet")


@pytest.mark.parametrize("content", [b"", b"PAR1", b"not a parquet file at all", b"x" * 40 + b"\xff\xff\xff\x7fPAR1"])
def test_what_is_not_parquet_is_an_error_of_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.parquet").write_bytes(content)
    with pytest.raises(DataError, match=r"x\.parquet: is not a Parquet file"):
        parquet.read_table(tmp_path / "x.parquet")


def test_a_damaged_footer_is_a_users_error(bars: Path) -> None:
    file = bars / "x.parquet"
    data = bytearray(file.read_bytes())
    data[-60:-20] = b"\xff" * 40
    file.write_bytes(data)
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        parquet.read_table(file)


def test_rows_are_chosen_by_instrument_and_time(bars: Path) -> None:
    table = parquet.read_table(bars, columns=["close"], instruments=["C", "A"], start="2020-01-03")
    assert table.column_names == ["close"]
    assert table["close"].to_pylist() == [2, 3, 2, 3]
    table = parquet.read_table(bars, instruments=["B"], start="2020-01-02", end="2020-01-03")
    assert table["instrument"].to_pylist() == ["B", "B"]
    assert parquet.read_table(bars, instruments=[]).num_rows == 0


def test_row_groups_without_wanted_rows_are_not_read(bars: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[int]] = []
    read = pq.ParquetFile.read_row_groups
    monkeypatch.setattr(
        pq.ParquetFile, "read_row_groups", lambda self, g, **k: (asked.append(list(g)), read(self, g, **k))[1]
    )
    parquet.read_table(bars, instruments=["B"])
    parquet.read_table(bars, start="2020-01-05")
    assert asked == [[1], []]


def test_an_end_without_time_is_the_whole_day(tmp_path: Path) -> None:
    hours = [datetime(2020, 1, 1, 10), datetime(2020, 1, 2, 15), datetime(2020, 1, 3, 9)]
    pq.write_table(pa.table({"datetime": pa.array(hours, pa.timestamp("us"))}), tmp_path / "x.parquet")
    assert parquet.read_table(tmp_path / "x.parquet", end="2020-01-02").num_rows == 2
    assert parquet.read_table(tmp_path / "x.parquet", end="2020-01-02 14:00").num_rows == 1


@pytest.mark.parametrize(
    ("unit", "zone"), [("ms", None), ("ns", None), ("us", "Asia/Shanghai"), ("us", "America/New_York")]
)
def test_time_ranges_hold_for_every_kind_of_timestamp(tmp_path: Path, unit: str, zone: str | None) -> None:
    stamps = pa.array(np.array(["2020-01-01T20:00", "2020-01-03T20:00"], "datetime64[us]")).cast(pa.timestamp(unit))
    column = stamps if zone is None else pa.compute.assume_timezone(stamps, zone)
    pq.write_table(pa.table({"datetime": column}), tmp_path / "x.parquet")
    assert parquet.read_table(tmp_path / "x.parquet", start="2020-01-02").num_rows == 1
    assert parquet.read_table(tmp_path / "x.parquet", end="2020-01-01").num_rows == 1


@pytest.mark.parametrize("wanted", [["A"], ["B", "C"], ["Z"], []])
@pytest.mark.parametrize("dates", [(None, None), ("2020-01-02", "2020-01-02"), ("2031-01-01", None)])
def test_row_groups_that_may_hold_a_row_are_read_whole(
    bars: Path, wanted: list[str], dates: tuple[str | None, str | None]
) -> None:
    start, end = (None if day is None else np.datetime64(day, "us") for day in dates)
    end = None if end is None else end + np.timedelta64(1, "D")
    got = parquet.read_groups(bars / "x.parquet", ["close"], wanted, start, end)
    assert got.column_names == ["instrument", "datetime", "close"]
    assert pa.types.is_dictionary(got["instrument"].type)
    want = parquet.read_table(bars / "x.parquet", None, wanted, start, end)
    rows = set(zip(got["instrument"].to_pylist(), got["datetime"].to_pylist(), strict=True))
    assert rows >= set(zip(want["instrument"].to_pylist(), want["datetime"].to_pylist(), strict=True))
    assert got.num_rows or not want.num_rows


def test_a_missing_column_is_named_with_those_there(bars: Path) -> None:
    with pytest.raises(DataError, match="no column vwap; it has instrument, datetime, close"):
        parquet.read_table(bars, columns=["vwap"])


def test_large_strings_and_dictionaries_are_plain(tmp_path: Path) -> None:
    for kind in (pa.large_string(), pa.dictionary(pa.int32(), pa.string())):
        column = pa.array(["A", "B"]).cast(kind)
        pq.write_table(pa.table({"instrument": column}), tmp_path / "x.parquet")
        assert parquet.read_table(tmp_path / "x.parquet", instruments=["B"]).num_rows == 1


def test_files_that_do_not_fit_together_are_named_with_the_column(tmp_path: Path) -> None:
    for name, column in (("0", pa.array([1.0])), ("1", pa.array(["much"]))):
        pq.write_table(pa.table({"instrument": ["A"], "x": column}), tmp_path / f"{name}.parquet")
    with pytest.raises(DataError, match=r"1\.parquet: column x is of type string, and of type double in 0\.parquet"):
        parquet.read_table(str(tmp_path), ["instrument", "x"])


def test_bytes_are_read_by_the_thread_that_asks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One of Arrow's that still holds them ends the process where the interpreter ends meanwhile."""
    asked: list[dict[str, Any]] = []
    read = pq.ParquetFile.read
    monkeypatch.setattr(pq.ParquetFile, "read", lambda file, **how: asked.append(how) or read(file, **how))
    pq.write_table(pa.table({"a": [1.0]}), tmp_path / "x.parquet")
    data = (tmp_path / "x.parquet").read_bytes()
    assert parquet.table_of(data, "x")[0]["a"].to_pylist() == [1.0]
    parquet.read_whole(tmp_path / "x.parquet", ["a"], hashlib.sha256(data).hexdigest()[:16])
    assert [how["use_threads"] for how in asked] == [False, False]
