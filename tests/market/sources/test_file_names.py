"""Which instrument a file holds, by its path."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from raybench.errors import DataError
from raybench.market.bars import open_bars
from raybench.market.importing.job import import_bars
from raybench.market.sources import open_source
from raybench.market.sources.file_names import instruments_of, partitions

CSV = (".csv", ".csv.gz", ".csv.zst")
PARQUET = (".parquet", ".pq")


def names(root: str, paths: list[str], suffixes: tuple[str, ...] = CSV) -> list[str]:
    files = [f"{root}/{path}" for path in paths]
    found = instruments_of(root, files, suffixes)
    return [found[file] for file in files]


@pytest.mark.parametrize(
    ("paths", "suffixes", "expected"),
    [
        (["000001.SZ.csv", "000001.SH.csv"], CSV, ["000001.SZ", "000001.SH"]),
        (["BRK.B.US.parquet", "AAPL.pq"], PARQUET, ["BRK.B.US", "AAPL"]),
        (["A.CSV", "B.Csv.GZ", "C.csv.zst"], CSV, ["A", "B", "C"]),
        (["instrument=SH600000/data_0.parquet", "instrument=A%2FB/x.parquet"], PARQUET, ["SH600000", "A/B"]),
        (["symbol=AAPL/year=2020/part-0.parquet", "Ticker=TRUE/0.pq"], PARQUET, ["AAPL", "TRUE"]),
        (["year=2020/AAPL.csv", "year=2021/AAPL.csv"], CSV, ["AAPL", "AAPL"]),
        (
            ["600000.SH/2019.csv", "600000.SH/2020.csv", "000001.SZ/2019.csv"],
            CSV,
            ["600000.SH", "600000.SH", "000001.SZ"],
        ),
        (["x/600000.SH/2019-01.csv", "x/600000.SH/20190201.csv"], CSV, ["600000.SH", "600000.SH"]),
        (["2019/600000.SH.csv", "2020/600000.SH.csv"], CSV, ["600000.SH", "600000.SH"]),
        (["sh/600000.csv", "sz/000001.csv"], CSV, ["600000", "000001"]),
        (["2020.csv", "2330.csv"], CSV, ["2020", "2330"]),  # codes, where there are no folders
    ],
)
def test_a_path_names_an_instrument(paths: list[str], suffixes: tuple[str, ...], expected: list[str]) -> None:
    assert names("/source", paths, suffixes) == expected


@pytest.mark.parametrize(
    ("paths", "said"),
    [
        (["sh/000001.csv", "sz/000001.csv"], r"sh/000001.csv and .*sz/000001.csv: are both the instrument 000001"),
        (["000001.csv", "000001.csv.gz"], "are both the instrument 000001"),
        (["A.csv", "A.CSV"], "are both the instrument A"),
        (["exchange=SH/code=000001/d.csv", "exchange=SZ/code=000001/d.csv"], "differ in exchange="),
        (["exchange=SH/000001.csv", "exchange=SZ/000001.csv"], "differ in exchange=.*--columns exchange="),
        (["freq=day/year=2020/A.csv", "freq=60min/year=2021/A.csv"], "differ in freq="),
        (["A.csv", "A (1).csv"], r"A \(1\).csv: looks like a copy of .*A.csv"),
        (["A.csv", "A - Copy.csv"], "looks like a copy"),
        (["2019/2020.csv"], "both look like a date"),
        (["part-0.csv", "part-1.csv"], "not named after one; say which column it is with --columns"),
        (["year=2020/data_0.csv"], "not named after one"),
        (["instrument=__HIVE_DEFAULT_PARTITION__/data_0.csv"], "rows without an instrument"),
    ],
)
def test_a_path_that_does_not_is_refused(paths: list[str], said: str) -> None:
    with pytest.raises(DataError, match=said):
        names("/source", paths)


def test_a_source_inside_a_partition_and_a_lone_file() -> None:
    assert partitions("/a/instrument=X", "/a/instrument=X/year=2020/f.csv") == {"instrument": "X", "year": "2020"}
    assert names("/a/instrument=X", ["f.csv"]) == ["X"]
    assert instruments_of("/a/600000.SH.csv", ["/a/600000.SH.csv"], CSV) == {"/a/600000.SH.csv": "600000.SH"}


def bars(instruments: list[str], days: int = 30) -> pd.DataFrame:
    random = np.random.default_rng(1)
    when = pd.bdate_range("2020-01-01", periods=days)
    parts = []
    for name in instruments:
        close = 10 + random.normal(0, 0.1, days).cumsum()
        prices = {"open": close, "high": close + 0.1, "low": close - 0.1, "close": close, "volume": 100.0}
        parts.append(pd.DataFrame({"instrument": name, "datetime": when, **prices}))
    return pd.concat(parts, ignore_index=True)


def test_pandas_partitions_are_read_as_they_were_written(tmp_path: Path) -> None:
    frame = bars(["SH600000", "000001.SZ", "NA"])
    frame.to_parquet(tmp_path / "table", partition_cols=["instrument"], index=False)
    import_bars(open_source(tmp_path / "table"), tmp_path / "bars")
    got = open_bars(tmp_path / "bars").block().to_frame()
    expected = frame.sort_values(["instrument", "datetime"], ignore_index=True).astype({"close": "float32"})
    assert got["instrument"].tolist() == expected["instrument"].tolist()
    assert got["close"].tolist() == expected["close"].tolist()


def by_year(folder: Path, form: str, frame: pd.DataFrame) -> None:
    for year, part in frame.groupby(frame["datetime"].dt.year):
        path = folder / form.format(year)
        path.parent.mkdir(parents=True, exist_ok=True)
        part.drop(columns="instrument").to_csv(path, index=False)


@pytest.mark.parametrize("form", ["600000.SH/{}.csv", "{}/600000.SH.csv", "year={}/600000.SH.csv"])
def test_files_of_years_are_joined(tmp_path: Path, form: str) -> None:
    frame = bars(["600000.SH"], days=300)
    by_year(tmp_path, form, frame)
    source = open_source(tmp_path)
    assert {name: len(span) for name, span in source.spans.items()} == {"600000.SH": 300}


@pytest.mark.parametrize("form", ["{}.csv", "AAPL_{}.csv", "AAPL.{}-01.csv"])
def test_files_of_years_that_name_no_instrument_are_refused(tmp_path: Path, form: str) -> None:
    frame = bars(["A"], days=300)
    if "-01" in form:
        frame = frame[frame["datetime"].dt.month == 1]
    by_year(tmp_path, form, frame)
    with pytest.raises(DataError, match="look like pieces of one instrument; name a folder"):
        open_source(tmp_path)


@pytest.mark.parametrize("form", ["AAPL_{}_{}.csv", "AAPL {:.10}-{:.7}.csv", "{}to{}.csv"])
def test_files_of_ranges_of_dates_are_pieces_too(tmp_path: Path, form: str) -> None:
    frame = bars(["A"], days=90).drop(columns="instrument")
    for part in (frame.iloc[:50], frame.iloc[50:]):
        since, until = (f"{day:%Y-%m-%d}" for day in part["datetime"].iloc[[0, -1]])
        part.to_csv(tmp_path / form.format(since, until), index=False)
    with pytest.raises(DataError, match="look like pieces of one instrument; name a folder"):
        open_source(tmp_path)


def test_codes_that_look_like_years_are_instruments(tmp_path: Path) -> None:
    for code in ("2002", "2020"):
        bars([code], days=300).drop(columns="instrument").to_csv(tmp_path / f"{code}.csv", index=False)
    assert list(open_source(tmp_path).spans) == ["2002", "2020"]


def test_a_key_that_says_nothing_is_left_out_by_columns(tmp_path: Path) -> None:
    for batch, rows in (("1", slice(0, 10)), ("2", slice(10, 20))):
        (tmp_path / f"batch={batch}").mkdir()
        bars(["A"]).iloc[rows].drop(columns="instrument").to_csv(tmp_path / f"batch={batch}/A.csv", index=False)
    with pytest.raises(DataError, match="differ in batch="):
        open_source(tmp_path)
    assert len(open_source(tmp_path, columns={"batch": ""}).spans["A"]) == 20


def test_a_partition_under_another_name_is_mapped(tmp_path: Path) -> None:
    bars(["A", "B"]).rename(columns={"instrument": "paper"}).to_parquet(tmp_path / "t", partition_cols=["paper"])
    source = open_source(tmp_path / "t", columns={"paper": "instrument"})
    assert list(source.spans) == ["A", "B"]


def test_suffixes_count_in_any_case_and_hidden_files_do_not(tmp_path: Path) -> None:
    for name, file in {"A": "A.CSV", "B": "B.csv.GZ", "C": ".C.csv"}.items():
        packed = "gzip" if file.endswith("GZ") else None
        bars([name]).drop(columns="instrument").to_csv(tmp_path / file, index=False, compression=packed)
    assert list(open_source(tmp_path).spans) == ["A", "B"]


def by_date(folder: Path, form: str, frame: pd.DataFrame) -> None:
    for when, part in frame.groupby("datetime"):
        path = folder / form.format(when)
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = part.drop(columns="datetime")
        rows.to_parquet(path, index=False) if path.suffix == ".parquet" else rows.to_csv(path, index=False)


@pytest.mark.parametrize(
    "form", ["date={:%Y-%m-%d}/p.parquet", "trade_date={:%Y%m%d}/part-0.csv", "{:%Y%m%d}.csv", "2020/{:%Y-%m-%d}.csv"]
)
def test_a_path_names_the_date_of_its_rows(tmp_path: Path, form: str) -> None:
    frame = bars(["SH600000", "000001.SZ"])
    by_date(tmp_path, form, frame)
    source = open_source(tmp_path)
    assert source.calendar.astype("datetime64[D]").tolist() == [when.date() for when in frame["datetime"].unique()]
    assert {name: len(span) for name, span in source.spans.items()} == {"SH600000": 30, "000001.SZ": 30}
    assert any("from the paths of 30 files" in note for note in source.notes)


def test_both_of_a_row_may_come_from_its_path(tmp_path: Path) -> None:
    for when, part in bars(["A"]).groupby("datetime"):
        path = tmp_path / f"dt={when:%Y-%m-%d}" / "AAPL.csv"
        path.parent.mkdir()
        part.drop(columns=["datetime", "instrument"]).to_csv(path, index=False)
    assert {name: len(span) for name, span in open_source(tmp_path).spans.items()} == {"AAPL": 30}


def test_a_name_that_is_no_date_gives_none(tmp_path: Path) -> None:
    (tmp_path / "day=2").mkdir()
    bars(["A"]).drop(columns="datetime").to_csv(tmp_path / "day=2" / "202001.csv", index=False)
    with pytest.raises(DataError, match="has no column datetime"):
        open_source(tmp_path)


@pytest.mark.parametrize(
    ("folder", "said"),
    [
        ("instrument=A", "lies in the folder instrument=A, and its rows say instrument SH600000"),
        ("symbol=SH60000", "and its rows say instrument SH600000; mend .*--columns symbol= leaves"),
        ("date=2019-05-05", "lies in the folder date=2019-05-05, and its rows say datetime 2020-01-01"),
    ],
)
def test_a_folder_that_no_row_agrees_with_is_refused(tmp_path: Path, folder: str, said: str) -> None:
    (tmp_path / folder).mkdir()
    bars(["SH600000"]).to_parquet(tmp_path / folder / "x.parquet", index=False)
    with pytest.raises(DataError, match=said):
        open_source(tmp_path)


@pytest.mark.parametrize(
    "folder",
    [
        "instrument=SH600000",
        "instrument=SH600000%20",
        "symbol=600000.sh",
        "symbol=600000",
        "date=2020-01-02",
        "exchange=SH",
    ],
)
def test_a_folder_that_rows_agree_with_is_fine(tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).mkdir()
    bars(["SH600000"]).to_parquet(tmp_path / folder / "x.parquet", index=False)
    assert list(open_source(tmp_path).spans) == ["SH600000"]


@pytest.mark.parametrize(
    "paths", [["A .csv", "A.csv"], [" A.csv", "A.csv.gz"], ["symbol=A/x.csv", "symbol=A%20/x.csv"]]
)
def test_names_that_differ_in_blanks_are_one(paths: list[str]) -> None:
    assert names("/source", ["A .csv"]) == ["A"]
    with pytest.raises(DataError, match="are both the instrument A"):
        names("/source", paths)


def test_a_folder_that_is_left_out_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "code=X").mkdir()
    bars(["SH600000"]).to_parquet(tmp_path / "code=X" / "x.parquet", index=False)
    assert list(open_source(tmp_path, columns={"code": ""}).spans) == ["SH600000"]


def write(folder: Path, *paths: str) -> Path:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        bars(["A"]).drop(columns="instrument").to_csv(folder / path, index=False)
    return folder


def test_files_that_are_not_read_are_named(tmp_path: Path) -> None:
    write(tmp_path, "BRK.B.CSV.gz", "000001.SZ.TXT", "B.tsv", ".hidden.txt")
    (tmp_path / "README.md").write_text("no data")
    source = open_source(tmp_path)
    assert list(source.spans) == ["BRK.B"]
    assert source.findings["left_out_file"].to_json() == {"count": 2, "examples": ["000001.SZ.TXT", "B.tsv"]}
    assert open_source(write(tmp_path / "more", "A.csv", "B.parq")).findings["left_out_file"].examples == ("B.parq",)
    assert "left_out_file" not in open_source(write(tmp_path / "alone", "A.csv")).findings


def test_format_csv_reads_text_files_of_any_name(tmp_path: Path) -> None:
    write(tmp_path, "A.csv", "000001.SZ.TXT", "B.tsv", "C.txt.gz")
    assert sorted(open_source(tmp_path, "csv").spans) == ["000001.SZ", "A", "B", "C"]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("A.txt", "holds none of our formats, but A.txt; --format csv reads .txt"),
        ("A.xlsx", "holds none of our formats, but A.xlsx; want .*csv.*parquet"),
    ],
)
def test_a_format_that_is_not_known_says_what_can_be_read(path: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=said):
        open_source(write(tmp_path, path))


@pytest.mark.parametrize("apart", [True, False])
def test_a_column_that_may_name_the_instruments_is_asked_about(tmp_path: Path, apart: bool) -> None:
    """In one file, one instrument after the other: they would be one, named after the file."""
    frame = bars(["A", "B", "C"])
    days = frame["datetime"].unique()
    which = frame["instrument"].map({"A": 0, "B": 1, "C": 2}) * 10
    if apart:
        frame = frame[(frame["datetime"] >= days[which]) & (frame["datetime"] <= days[which + 9])]
    frame.rename(columns={"instrument": "whose"}).assign(kind="stock").to_csv(tmp_path / "prices.csv", index=False)
    if apart:
        source = open_source(tmp_path / "prices.csv")
        assert source.findings["column_of_several"].examples == ("whose (A, B, ...)",)
    else:
        with pytest.raises(
            DataError, match=r"prices has two rows .*if the column whose \(A, B.*--columns NAME=instrument"
        ):
            open_source(tmp_path / "prices.csv")
    assert list(open_source(tmp_path / "prices.csv", columns={"whose": "instrument"}).spans) == ["A", "B", "C"]
    frame.rename(columns={"instrument": "order_book_id"}).to_csv(tmp_path / "prices.csv", index=False)
    assert list(open_source(tmp_path / "prices.csv").spans) == ["A", "B", "C"]


def test_text_that_tells_nothing_apart_is_left_out_as_ever(tmp_path: Path) -> None:
    frame = bars(["A"]).drop(columns="instrument")
    frame.assign(market="x", note=[f"n{i}" for i in range(len(frame))]).to_csv(tmp_path / "A.csv", index=False)
    assert open_source(tmp_path / "A.csv").findings == {}
