"""Columns under the names that others give them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from raybench.data.sources import open_source
from raybench.data.sources.column_names import recognised
from raybench.data.sources.source import Source
from raybench.errors import DataError

PRICES = ("open", "high", "low", "close", "volume")


def columns(names: list[str], **given: str) -> dict[str, str]:
    return recognised("f", [name for name in names if name not in given.values()], {*names, *given})


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


@pytest.mark.parametrize("names", [["Date", "Time"], ["Ticker", "Symbol"], ["Close", "CLOSE"]])
def test_two_that_fit_are_asked_about(names: list[str]) -> None:
    with pytest.raises(DataError, match=f"{names[0]} and {names[1]} could both be .* --columns {names[0]}="):
        columns(names)


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
