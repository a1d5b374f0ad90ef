"""Universes from lists of names, and from spans under customary names."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from raybench.errors import DataError
from raybench.market.bars import open_bars
from raybench.market.importing.job import import_bars
from raybench.market.sources import open_source
from raybench.market.sources.spans_file import read_spans


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("u.txt", "000001\n600000\n"),
        ("u.csv", "600000\r\n000001\r\n\r\n000001\r\n"),
        ("u.txt", "# mine\n'000001\n 600000 \n"),
        ("u.csv", "symbol\n000001\n600000\n"),
        ("u.csv", "Stock Code;Name\n000001;Ping An\n600000;Pudong\n"),
        ("u.csv", "updateDate,code,code_name\n2020-01-06,000001,x\n2020-01-06,600000,y\n"),
    ],
)
def test_lists_of_names_are_members_for_ever(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    universe = read_spans(tmp_path / name, "u")
    assert universe.instrument_K == ("000001", "600000")
    assert not universe.dated
    assert universe.contains("000001", pd.DatetimeIndex(["1990-12-19", "2100-01-01"]).to_numpy("M8[us]")).all()


def test_a_list_in_parquet_and_one_in_another_encoding(tmp_path: Path) -> None:
    pd.DataFrame({"Ticker": ["TRUE", "NA"]}).to_parquet(tmp_path / "u.parquet")
    assert read_spans(tmp_path / "u.parquet", "u").instruments == ("NA", "TRUE")
    (tmp_path / "u.csv").write_text("证券代码,名称\n000001,平安\n", encoding="gbk")
    with pytest.raises(DataError, match="--encoding"):
        read_spans(tmp_path / "u.csv", "u")
    assert read_spans(tmp_path / "u.csv", "u", "gb18030").instruments == ("000001",)


@pytest.mark.parametrize("header", ["index_code,con_code,in_date,out_date", "x,Symbol,Start Date,End Date"])
def test_spans_under_customary_names(tmp_path: Path, header: str) -> None:
    (tmp_path / "u.csv").write_text(f"{header}\ni,A,20200102,20200131\ni,B,20200103,\n")
    frame = read_spans(tmp_path / "u.csv", "u").to_frame()
    assert frame["start"].astype(str).tolist() == ["2020-01-02", "2020-01-03"]
    assert [str(end)[:10] for end in frame["end"]] == ["2020-01-31", "NaT"]


def test_spans_with_blanks_between_and_ends_that_were_numbers(tmp_path: Path) -> None:
    (tmp_path / "blanks.txt").write_text("A 2020-01-02 2020-01-31\nB  2020-01-03  2020-02-28\n")
    (tmp_path / "pandas.csv").write_text("instrument,start,end\nA,20200102,20200131.0\nB,20200103,\n")
    for name in ("blanks.txt", "pandas.csv"):
        frame = read_spans(tmp_path / name, "u").to_frame()
        assert frame["start"].astype(str).tolist() == ["2020-01-02", "2020-01-03"]
        assert str(frame["end"][0])[:10] == "2020-01-31"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("con_code,trade_date\nA,2020-01-01\nB,2020-02-01\n", "lists members by trade_date"),
        ("symbol,code\nA,1\n", "symbol and code could both be the instrument"),
        ("A,2020-01-01,2020-01-02\n", "no header"),
        (
            "code,joined,left\nA,2020-01-01,2020-02-01\nB,20200101,\n",
            "has dates in joined and left, and no columns start",
        ),
        ("品种代码,纳入日期\nA,2020-01-01\n", "has no column end"),
    ],
)
def test_what_is_neither_is_refused(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "u.csv").write_text(text)
    with pytest.raises(DataError, match=says):
        read_spans(tmp_path / "u.csv", "u")


def test_the_import_says_that_a_list_knows_no_dates(tmp_path: Path) -> None:
    when = pd.bdate_range("2020-01-01", periods=5)
    pd.DataFrame({"datetime": when, "open": 1.0, "high": 1.0, "low": 1.0, "close": 1.0, "volume": 1.0}).to_csv(
        tmp_path / "A.csv", index=False
    )
    (tmp_path / "u.txt").write_text("a\n")
    done = import_bars(
        open_source(tmp_path / "A.csv"), tmp_path / "bars", universes={"u": read_spans(tmp_path / "u.txt", "u")}
    )
    assert open_bars(tmp_path / "bars").universe("u").instruments == ("A",)
    assert any("a list of 1 name without dates" in note for note in done.notes)


def test_members_that_the_bars_spell_otherwise_are_said(tmp_path: Path) -> None:
    days = pd.bdate_range("2020-01-06", periods=8)
    rows = pd.DataFrame([{"instrument": name, "datetime": day} for name in ("1", "600000", "X-1") for day in days])
    rows.assign(open=1.0, high=1.0, low=1.0, close=1.0, volume=1.0).to_csv(tmp_path / "t.csv", index=False)
    (tmp_path / "u.txt").write_text("000001\n600000\nX.1\nY\n")
    universes = {"u": read_spans(tmp_path / "u.txt", "u")}
    done = import_bars(open_source(tmp_path / "t.csv"), tmp_path / "bars", universes=universes)
    assert done.metadata.warnings["member_spelt_otherwise"] == {
        "count": 2,
        "examples": ["000001 (the bars have 1)", "X.1 (the bars have X-1)"],
    }
    assert any("spell both alike: 000001 (the bars have 1)" in line for line in done.warnings)
