"""Columns under the names that others give them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from raybench.columns.names import recognised
from raybench.errors import DataError
from raybench.market.sources import open_source
from raybench.market.sources.source import Source

PRICES = ("open", "high", "low", "close", "volume")


def columns(names: list[str], **given: str) -> dict[str, str]:
    told = recognised([name for name in names if name not in given.values()], {*names, *given})
    return {**told.found, **told.doubtful}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (
            ["Date", "Open", "Adj_Close", "Close"],
            {"datetime": "Date", "open": "Open", "close": "Close", "adj_close": "Adj_Close"},
        ),
        (["ts_code", "trade_date", "vol"], {"instrument": "ts_code", "datetime": "trade_date", "volume": "vol"}),
        (
            ["TICKER", "Trade Date", "Close_Price"],
            {"instrument": "TICKER", "datetime": "Trade Date", "close": "Close_Price"},
        ),
        (["股票代码", "日期", "收盘"], {"instrument": "股票代码", "datetime": "日期", "close": "收盘"}),
        (["datetime", "Date", "close", "Close"], {}),  # its own name goes before
        (["closed", "opening", "lowest"], {}),
    ],
)
def test_customary_names(names: list[str], expected: dict[str, str]) -> None:
    assert columns(names) == expected


def test_a_mapped_column_is_spoken_for() -> None:
    assert columns(["Date", "Time"], datetime="Date") == {}


@pytest.mark.parametrize("names", [["Date", "Timestamp"], ["Ticker", "Symbol"], ["Close", "CLOSE"]])
def test_two_that_fit_are_doubtful(names: list[str]) -> None:
    assert list(columns(names).values()) == [tuple(names)]


def test_a_time_beside_a_date() -> None:
    told = recognised(["Time", "Trade Date"], set())
    assert (told.found, told.clock) == ({"datetime": "Trade Date"}, "Time")
    assert recognised(["Time"], set()).found == {"datetime": "Time"}


def write(folder: Path, **renamed: str) -> Source:
    frame = pd.DataFrame({"datetime": pd.bdate_range("2020-01-01", periods=5), **dict.fromkeys(PRICES, 1.0)})
    frame.assign(**{"Adj Close": 2.0}).rename(columns=renamed).to_csv(folder / "A.csv", index=False)
    return open_source(folder)


def test_a_download_of_capital_names_is_taken_and_said(tmp_path: Path) -> None:
    source = write(tmp_path, datetime="Date", **{name: name.title() for name in PRICES})
    assert source.fields == (*PRICES, "adj_close")
    assert any("Date as datetime, Open as open" in note for note in source.notes)


def test_all_that_is_missing_is_named_at_once(tmp_path: Path) -> None:
    said = r"has no column datetime, high, volume; .* --columns theirs=datetime,theirs=high,theirs=volume$"
    with pytest.raises(DataError, match=said):
        write(tmp_path, datetime="when", high="top", volume="lots")


def test_all_that_is_missing_or_doubtful_is_named_at_once(tmp_path: Path) -> None:
    frame = pd.DataFrame({"Date": ["2020-01-02"], "Timestamp": ["2020-01-02"], "Close": [1.0], "CLOSE": [1.0]})
    frame.assign(open=1.0, vol=1.0).to_csv(tmp_path / "A.csv", index=False)
    with pytest.raises(DataError) as caught:
        open_source(tmp_path)
    assert str(caught.value).endswith(
        "A.csv: Date and Timestamp could each be the datetime; Close and CLOSE could each be the close; has no column "
        "high, low; it has Date, Timestamp, Close, CLOSE, open, vol; say which with "
        "--columns theirs=high,theirs=low,Date=datetime,Close=close (--columns Timestamp= leaves one out)"
    )


TIMES = {"text": ["9:30", "15:00:00"], "short": ["0930", "1500"], "long": ["093000", "150000"]}


@pytest.mark.parametrize("kind", [*TIMES, "times"])
def test_dates_and_times_in_columns_of_their_own(tmp_path: Path, kind: str) -> None:
    frame = pd.DataFrame({"date": ["2020-01-02"] * 2, "time": TIMES.get(kind, ["09:30:00", "15:00:00"])})
    frame = frame.assign(**dict.fromkeys(PRICES, 1.0))
    if kind == "times":
        frame["time"] = pd.to_datetime(frame["time"], format="%H:%M:%S").dt.time
        frame.to_parquet(tmp_path / "A.parquet")
    else:
        frame.to_csv(tmp_path / "A.csv", index=False)
    source = open_source(tmp_path)
    assert [str(when) for when in source.calendar] == ["2020-01-02T09:30:00.000000", "2020-01-02T15:00:00.000000"]
    assert any("date as datetime, time as time of day" in note for note in source.notes)
    assert source.fields == PRICES


@pytest.mark.parametrize(
    ("times", "says"),
    [
        (["2020-01-02 09:30", "2020-01-02 15:00"], "date and time could each be the datetime"),
        ([930, 1500], "date and time could each be the datetime"),
    ],
)
def test_what_is_no_time_is_asked_about(tmp_path: Path, times: list[object], says: str) -> None:
    frame = pd.DataFrame({"date": ["2020-01-02"] * 2, "time": times, **dict.fromkeys(PRICES, 1.0)})
    frame.to_parquet(tmp_path / "A.parquet")
    with pytest.raises(DataError, match=says):
        open_source(tmp_path)


def test_a_row_without_a_time_is_named(tmp_path: Path) -> None:
    frame = pd.DataFrame({"date": ["2020-01-02"] * 3, "time": ["09:30", "10:30", None], **dict.fromkeys(PRICES, 1.0)})
    frame.to_csv(tmp_path / "A.csv", index=False)
    with pytest.raises(DataError, match=r"A\.csv: row 3 has no time"):
        open_source(tmp_path)


@pytest.mark.parametrize(("hours", "frequency"), [([0], "day"), ([16], None), ([1, 2, 3], "60min")])
def test_counts_of_milliseconds(tmp_path: Path, hours: list[int], frequency: str | None) -> None:
    days = pd.bdate_range("2020-01-01", periods=5)
    when = pd.DatetimeIndex([day + pd.Timedelta(hours=hour) for day in days for hour in hours])
    frame = pd.DataFrame({"datetime": when.as_unit("ms").astype("int64"), **dict.fromkeys(PRICES, 1.0)})
    frame.to_csv(tmp_path / "A.csv", index=False)
    if frequency is None:
        with pytest.raises(DataError, match="counts milliseconds since 1970, and its days begin at 16:00:00 in UTC"):
            open_source(tmp_path)
        return
    source = open_source(tmp_path)
    assert (list(source.calendar), source.frequency) == (list(when.to_numpy("datetime64[us]")), frequency)
    assert any("datetimes were in UTC (milliseconds since 1970): kept" in note for note in source.notes)
