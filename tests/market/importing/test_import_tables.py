"""Importing CSV and Parquet tables, and files of universe spans."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raybench.columns import typed
from raybench.errors import DataError
from raybench.market.bars import BarBlock, open_bars
from raybench.market.importing.job import import_bars
from raybench.market.sources import detect_format, open_source
from raybench.market.sources.spans_file import read_spans
from raybench.storage import csv_tables

CSV = """instrument,datetime,open,high,low,close,volume,vwap
B,2020-01-03,1,2,1,1.5,100,1.25
A,2020-01-02,3,4,3,3.5,10,
A,2020-01-06,5,6,5,5.5,20,nan
B,2020-01-02,7,8,7,7.5,30,7.125
"""


def rows() -> pd.DataFrame:
    frame = pd.read_csv(io.StringIO(CSV), keep_default_na=True)
    return frame.assign(datetime=pd.to_datetime(frame["datetime"]))


def imported(source: Path, to: Path, **options: Any) -> BarBlock:
    import_bars(open_source(source, **options), to)
    return open_bars(to).block()


def assert_same(left: BarBlock, right: BarBlock) -> None:
    pd.testing.assert_frame_equal(left.to_frame(), right.to_frame(), check_like=True)


@pytest.fixture
def want() -> BarBlock:
    return BarBlock.from_frame(rows())


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    (tmp_path / "bars.csv").write_text(CSV)
    return tmp_path / "bars.csv"


def test_a_csv_file(csv: Path, tmp_path: Path, want: BarBlock) -> None:
    block = imported(csv, tmp_path / "to")
    assert_same(block, want)
    assert block.instruments == ("A", "B")
    assert block.start_N1.tolist() == [0, 3, 5]  # A has a NaN row on the third
    assert np.isnan(block.fields["close"]).tolist() == [False, True, False, False, False]


def test_a_folder_with_a_file_per_instrument(tmp_path: Path, want: BarBlock) -> None:
    for name, part in rows().groupby("instrument"):
        part.drop(columns="instrument").to_csv(_folder(tmp_path) / f"{name}.csv", index=False)
    assert detect_format(tmp_path / "folder") == "csv"
    assert_same(imported(tmp_path / "folder", tmp_path / "to"), want)


def test_compressed_csv_with_a_byte_order_mark_and_windows_lines(tmp_path: Path, want: BarBlock) -> None:
    import gzip

    text = "\ufeff" + CSV.replace("\n", "\r\n").replace("instrument,", '"instrument" , ')
    (tmp_path / "bars.csv.gz").write_bytes(gzip.compress(text.encode()))
    assert_same(imported(tmp_path / "bars.csv.gz", tmp_path / "to"), want)


@pytest.mark.parametrize("text", [pa.string(), pa.large_string(), pa.dictionary(pa.int8(), pa.string())])
@pytest.mark.parametrize("stamp", [pa.timestamp("ns"), pa.date32(), pa.string(), pa.int64()])
def test_parquet_of_many_types(tmp_path: Path, want: BarBlock, text: Any, stamp: Any) -> None:
    frame = rows()
    days = frame["datetime"].dt.strftime("%Y%m%d")
    when = {pa.string(): days, pa.int64(): days.astype(int)}.get(stamp, frame["datetime"].dt.date)
    columns = {
        "instrument": pa.array(frame["instrument"], pa.string()).cast(text),
        "datetime": pa.array(when, pa.date32()).cast(stamp)
        if stamp != pa.int64() and stamp != pa.string()
        else pa.array(when, stamp),
        **{name: pa.array(frame[name], pa.float64()) for name in frame.columns[2:]},
    }
    columns["volume"] = columns["volume"].cast(pa.int64())
    pq.write_table(pa.table(columns), tmp_path / "bars.parquet")
    assert_same(imported(tmp_path / "bars.parquet", tmp_path / "to"), want)


def test_a_parquet_folder_whose_files_differ_in_columns(tmp_path: Path, want: BarBlock) -> None:
    for name, part in rows().groupby("instrument"):
        part = part.drop(columns="vwap") if name == "A" else part.assign(volume=part["volume"].astype(float))
        part.to_parquet(_folder(tmp_path) / f"{name}.parquet", index=False)
    assert_same(imported(tmp_path / "folder", tmp_path / "to"), want)


def test_a_zone_keeps_the_time_of_its_clocks(tmp_path: Path) -> None:
    frame = rows().assign(datetime=rows()["datetime"].dt.tz_localize("Asia/Shanghai") + pd.Timedelta("15h"))
    frame.to_parquet(tmp_path / "bars.parquet", index=False)
    source = open_source(tmp_path / "bars.parquet")
    assert "2020-01-02T15:00:00.000000" in [str(t) for t in source.calendar]
    assert source.notes == ("datetimes were in Asia/Shanghai: kept as the clocks there show them",)
    frame.assign(datetime=frame["datetime"].astype(str)).to_csv(tmp_path / "bars.csv", index=False)
    from_text = open_source(tmp_path / "bars.csv")
    np.testing.assert_array_equal(from_text.calendar, source.calendar)


def test_columns_by_other_names_and_columns_left_out(csv: Path, tmp_path: Path, want: BarBlock) -> None:
    text = CSV.replace("instrument,datetime", "name,Date").replace("close", "adj").replace("vwap", "close")
    csv.write_text(text)
    with pytest.raises(DataError, match="has no column instrument; it has name, Date"):
        open_source(csv)
    mapping = {"name": "instrument", "Date": "datetime", "adj": "close"}
    source = open_source(csv, columns=mapping)
    assert source.fields == ("open", "high", "low", "close", "volume")
    np.testing.assert_array_equal(source.block(["A", "B"]).fields["close"], want.fields["close"])
    dropped = open_source(csv, columns={**mapping, "close": ""})
    assert dropped.fields == source.fields
    with pytest.raises(DataError, match=r"no column Symbol \(--columns\)"):
        open_source(csv, columns={"Symbol": "instrument"})
    with pytest.raises(DataError, match="two columns to close"):
        open_source(csv, columns={**mapping, "close": "close"})


def test_other_columns_are_kept_if_they_are_numbers(csv: Path, tmp_path: Path) -> None:
    lines = CSV.splitlines()
    extra = [",name,turnover", ",Alpha,1", ",Beta,", ",Beta,2e3", ",Alpha,NA"]
    csv.write_text("\n".join(line + more for line, more in zip(lines, extra, strict=True)))
    source = open_source(csv)
    assert source.fields == ("open", "high", "low", "close", "volume", "turnover", "vwap")
    assert source.notes == ("columns without numbers left out: name",)
    np.testing.assert_array_equal(source.block(["B"]).fields["turnover"], np.float32([np.nan, 1]))


def test_an_empty_column_is_judged_by_the_files_that_fill_it(tmp_path: Path) -> None:
    frame = rows().assign(empty=np.nan)
    frame[frame["instrument"] == "A"].to_csv(_folder(tmp_path) / "A.csv", index=False)  # vwap says nothing here
    frame[frame["instrument"] == "B"].to_csv(_folder(tmp_path) / "B.csv", index=False)
    source = open_source(tmp_path / "folder")
    assert source.fields[-1] == "vwap"
    assert source.notes == ("columns without numbers left out: empty",)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (",close,", ",closing,", "no column close; .*--columns theirs=close"),
        (",close,", ",open,", "two columns open"),
        ("2020-01-06", "Jan 6", "row 3: 'Jan 6' is not a date"),
        ("2020-01-06", "2020-13-06", "row 3: '2020-13-06' is not a date"),
        ("2020-01-06", "", "row 3 has no datetime"),
        ("A,2020-01-06", ",2020-01-06", "row 3 has no instrument"),
        ("5.5", "5,5", "Expected 8 columns, got 9"),
        ("5.5", "five", "row 3: 'five' is not a number in column close"),
        (",20,nan", ",1 000,nan", "row 3: '1 000' is not a number in column volume"),
        ("7.125", "much", "row 4: 'much' is not a number in column vwap"),
        ("2020-01-06", "2020-01-02", "A has two rows at 2020-01-02"),
        (CSV, "", "has no header"),
        (CSV[CSV.index("\n") :], "\n", "has no rows"),
        ("vwap", "\udcff", "not UTF-8"),
        ("B,", "\udcff,", "not UTF-8"),
    ],
)
def test_rows_that_cannot_be_read_are_named(csv: Path, tmp_path: Path, old: str, new: str, says: str) -> None:
    csv.write_bytes(CSV.replace(old, new).encode(errors="surrogateescape"))
    with pytest.raises(DataError, match=says) as caught:
        imported(csv, tmp_path / "to")
    assert "bars.csv" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "to").exists()


def test_a_bad_row_far_into_a_file_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_tables, "BLOCK_BYTES", 4096)
    days = pd.date_range("2000-01-01", periods=2000).strftime("%Y-%m-%d")
    lines = [f"A,{day},1,1,1,{'x' if i == 1775 else 1},1" for i, day in enumerate(days)]
    (tmp_path / "bars.csv").write_text("\n".join(["instrument,datetime,open,high,low,close,volume", *lines]))
    with pytest.raises(DataError, match=r"bars\.csv: row 1776: 'x' is not a number in column close"):
        open_source(tmp_path / "bars.csv")


def test_many_small_batches_in_any_order_are_the_same_bars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    days = pd.date_range("2000-01-01", periods=300)
    frame = pd.DataFrame([(f"I{i}", day) for i in range(20) for day in days], columns=["instrument", "datetime"])
    for field in ("open", "high", "low", "close", "volume"):
        frame[field] = rng.random(len(frame), dtype=np.float32)
    frame.to_parquet(tmp_path / "sorted.parquet", index=False)
    frame.sample(frac=1, random_state=1).to_csv(tmp_path / "shuffled.csv", index=False)
    monkeypatch.setattr(csv_tables, "BLOCK_BYTES", 20_000)
    first = import_bars(open_source(tmp_path / "sorted.parquet"), tmp_path / "to")
    second = import_bars(open_source(tmp_path / "shuffled.csv"), tmp_path / "to")
    assert first.changed
    assert not second.changed
    assert second.metadata == first.metadata


def test_two_files_with_the_same_bar_are_both_named(tmp_path: Path) -> None:
    for name in ("one", "two"):
        rows().to_csv(_folder(tmp_path) / f"{name}.csv", index=False)
    with pytest.raises(DataError, match=r"one\.csv and .*two\.csv: A has two rows at 2020-01-02"):
        open_source(tmp_path / "folder")


def test_nothing_to_import(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        open_source(tmp_path / "nowhere")
    with pytest.raises(DataError, match="none of our formats"):
        open_source(_folder(tmp_path))
    with pytest.raises(DataError, match="there is no csv file"):
        open_source(_folder(tmp_path), "csv")
    for name in ("a.csv", "b.parquet"):
        (_folder(tmp_path) / name).touch()
    with pytest.raises(DataError, match="csv and parquet files; say which with --format"):
        open_source(_folder(tmp_path))


def test_a_pickled_column_in_a_table_is_refused(tmp_path: Path) -> None:
    frame = rows().assign(evil=[b"x"] * 4)
    table = pa.Table.from_pandas(frame)
    field = pa.field("evil", pa.binary(), metadata={"ARROW:extension:name": "ray.data.arrow_pickled_object"})
    table = table.set_column(table.schema.get_field_index("evil"), field, table["evil"])
    pq.write_table(table, tmp_path / "bars.parquet")
    with pytest.raises(DataError, match="extension type"):
        open_source(tmp_path / "bars.parquet")


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("2020-01-02", "2020-01-02"),
        (" 2020-01-02 ", "2020-01-02"),
        ("20200102", "2020-01-02"),
        ("2020/1/2", "2020-01-02"),
        ("2020-1-2 9:30", "2020-01-02T09:30"),
        ("2020.01.02", "2020-01-02"),
        ("2020-01-02T09:30:00.25", "2020-01-02T09:30:00.25"),
        ("20200102 09:30:00", "2020-01-02T09:30"),
        ("2020-01-02 09:30:00+08:00", "2020-01-02T09:30"),
        ("2020-01-02T09:30:00Z", "2020-01-02T09:30"),
        ("2020-01-02 09:30:00.5-0500", "2020-01-02T09:30:00.5"),
    ],
)
def test_dates_people_write(text: str, want: str) -> None:
    assert typed.datetimes([text, "2020-01-01"], where="here")[0] == np.datetime64(want, "us")


@pytest.mark.parametrize("text", ["02/01/2020", "2020-02-30", "1577923200", "2020", "2020-01-02 25:00", "x"])
def test_dates_nobody_can_tell(text: str) -> None:
    with pytest.raises(DataError, match=r"row 2: .* is not a date"):
        typed.datetimes(["2020-01-01", text], where="here")


@pytest.mark.parametrize(("text", "want"), [("1e-3", 1e-3), ("-2", -2), (" 3 ", 3), ("inf", np.inf), ("1e60", np.inf)])
def test_numbers(text: str, want: float) -> None:
    got = typed.floats(pa.array([text, "", "NaN", "null", None]), "x", where="here")
    np.testing.assert_array_equal(got, np.float32([want, np.nan, np.nan, np.nan, np.nan]))


def test_tickers_that_look_like_nothing_stay_names(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(CSV.replace("A,", "NA,").replace("B,", "007,"))
    assert list(open_source(tmp_path / "x.csv").spans) == ["007", "NA"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("u.csv", "end,instrument,start\n2020-01-31,A,2020-01-02\n,B,2020-01-03\n"),
        ("u.csv", "instrument,start,end\nA,20200102,20200131\nB,2020/1/3\n"),
        ("u.txt", "A\t2020-01-02\t2020-01-31\nB\t2020-01-03\t\n\n"),
    ],
)
def test_files_of_spans(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    frame = read_spans(tmp_path / name, "u").to_frame()
    assert frame["instrument"].tolist() == ["A", "B"]
    assert frame["start"].astype(str).tolist() == ["2020-01-02", "2020-01-03"]
    assert [str(end)[:10] for end in frame["end"]] == ["2020-01-31", "NaT"]
    frame.to_parquet(tmp_path / "u.parquet", index=False)
    pd.testing.assert_frame_equal(read_spans(tmp_path / "u.parquet", "u").to_frame(), frame)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "universe u is empty"),
        ("instrument,start,end\n", "universe u is empty"),
        ("instrument,start\nA,2020-01-01\n", "no column end"),
        ("A,2020-01-01,2020-01-02\n", "no header"),
        ("instrument,start,end\nA,2020-01-01,\n,2020-01-01,\n", "line 3"),
        ("instrument,start,end\nA,then,\n", "line 2: 'then' is not a date"),
        ("instrument,start,end\nA,,2020-01-01\n", "line 2"),
        ("instrument,start,end\nA,2020-02-01,2020-01-01\n", "starts 2020-02-01"),
    ],
)
def test_files_of_spans_that_cannot_be_read(tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "u.csv").write_text(content)
    with pytest.raises(DataError, match=says):
        read_spans(tmp_path / "u.csv", "u")


@pytest.mark.shared
def test_real_hourly_bars(shared: Path, tmp_path: Path) -> None:
    file = shared / "intraday/us_lean_hour.parquet"
    block = imported(file, tmp_path / "to")
    bars = open_bars(tmp_path / "to")
    assert bars.frequency == "60min"
    assert bars.fields == ("open", "high", "low", "close", "volume", "factor")
    given = pd.read_parquet(file)
    assert bars.instruments == tuple(sorted(given["instrument"].unique()))
    for i, name in enumerate(block.instruments):
        part = given[given["instrument"] == name].set_index("datetime").sort_index()
        one = block.slice(i)
        np.testing.assert_array_equal(one.fields["close"], part["close"].reindex(one.datetime_R).to_numpy(np.float32))
        assert len(part) <= one.rows
    assert np.isnan(block.slice(block.instruments.index("VXX")).fields["factor"]).all()
    there_R = bars.universe("all").mask(block.instruments, block.code_R, block.datetime_R)
    assert there_R[~np.isnan(block.fields["close"])].all()
    assert bars.universe("all").instrument_K == (*bars.instruments, "VXX")  # which had no bars for months


def _folder(tmp_path: Path) -> Path:
    (tmp_path / "folder").mkdir(exist_ok=True)
    return tmp_path / "folder"
