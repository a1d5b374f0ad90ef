"""The first lines of CSV files, and cells that are kept as text or empty."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from raybench.columns import typed
from raybench.errors import DataError
from raybench.market.sources import open_source
from raybench.market.sources.source import Source
from raybench.storage.csv_head import read_head

ROWS = "2020-01-02,3,4,3,3.5,10\n2020-01-03,3,4,3,3.5,11\n"
YFINANCE = "Price,Open,High,Low,Close,Volume\nTicker,BRK-B,BRK-B,BRK-B,BRK-B,BRK-B\nDate,,,,,\n"


def opened(folder: Path, text: str) -> Source:
    (folder / "data.csv").write_text(text)
    return open_source(folder / "data.csv")


@pytest.mark.parametrize("mark", [",", "\t", ";", "|"])
def test_what_stands_between_cells(tmp_path: Path, mark: str) -> None:
    (tmp_path / "a.csv").write_text(f"\ufeffa{mark}b c{mark}\n")
    head = read_head(str(tmp_path / "a.csv"), "utf-8")
    assert (head.names, head.delimiter, head.lines) == (["a", "b c", "Unnamed: 2"], mark, 1)


def test_the_three_lines_of_yfinance(tmp_path: Path) -> None:
    source = opened(tmp_path, YFINANCE + ROWS)
    assert list(source.spans) == ["BRK-B"]  # not data, as the file is named
    assert source.block(["BRK-B"]).fields["volume"].tolist() == [10, 11]
    assert any("Ticker as instrument, Date as datetime" in note for note in source.notes)


def test_tickers_side_by_side_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds 2 tickers side by side \(AAPL, BRK-B .*stack"):
        opened(tmp_path, YFINANCE.replace("Ticker,BRK-B", "Ticker,AAPL") + ROWS)


def test_a_column_of_row_numbers_is_no_field(tmp_path: Path) -> None:
    lines = ["datetime,open,high,low,close,volume", *ROWS.splitlines()]
    for first in ("", "Unnamed: 0"):
        text = "\n".join(f"{i if n else first},{line}" for n, (i, line) in enumerate(enumerate(lines)))
        assert "Unnamed: 0" not in opened(tmp_path, text).fields


def test_a_column_without_a_name_can_be_mapped(tmp_path: Path) -> None:
    text = ",open,high,low,close,volume\n" + ROWS
    with pytest.raises(DataError, match=r"no column datetime; .* --columns Unnamed: 0=datetime"):
        opened(tmp_path, text)
    (tmp_path / "data.csv").write_text(text)
    assert len(open_source(tmp_path / "data.csv", columns={"Unnamed: 0": "datetime"}).calendar) == 2


@pytest.mark.parametrize("text", ["'000001", '="000001"', "000001"])
def test_the_marks_of_excel_go_and_zeros_stay(text: str) -> None:
    assert typed.names(pa.array([text, "O'X"]), where="f").to_pylist() == ["000001", "O'X"]


def test_a_dash_is_no_number() -> None:
    got = typed.floats(pa.array(["-", "--", "-1", " - "]), "close", where="f")
    np.testing.assert_array_equal(got, np.float32([np.nan, np.nan, -1, np.nan]))
    assert typed.mostly_numbers(pa.array(["-", "1"]))
