"""The first lines of a CSV file: the names of its columns, what stands between cells, where its rows begin.

yfinance writes three lines, ``Price,Close,...``, ``Ticker,AAPL,...`` and ``Date,,...``: of one ticker they are read as
the columns Date, Close, ... and Ticker, the same in every row.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass, field

from raybench.errors import DataError
from raybench.storage import files

_LONGEST_LINE = 1 << 20
_DELIMITERS = ",\t;|"


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """``names``: of the columns in the file, none of them empty. ``lines``: before the rows.

    ``constants``: columns that the head says all of, name -> the value in every row.
    """

    names: list[str]
    delimiter: str
    lines: int = 1
    constants: Mapping[str, str] = field(default_factory=dict)


def read_head(file: str, encoding: str) -> Head:
    """Read it; UnicodeError where that is not the encoding, DataError where there are no names or one twice."""
    with files.open_stream(file) as stream, io.TextIOWrapper(stream, encoding=encoding) as text:
        lines = [text.readline(_LONGEST_LINE).removeprefix("\ufeff").rstrip("\r\n")]
        delimiter = next((mark for mark in _DELIMITERS if mark in lines[0]), ",")
        if lines[0].startswith(f"Price{delimiter}"):
            lines += [text.readline(_LONGEST_LINE).rstrip("\r\n") for _ in range(2)]
    rows = [[cell.strip() for cell in next(csv.reader([line], delimiter=delimiter), [])] for line in lines]
    if len(rows) == 3 and rows[1][:1] == ["Ticker"] and rows[2][:1] == ["Date"]:
        return _of_yfinance(file, rows, delimiter)
    _check(file, rows[0])
    return Head(names=[name or f"Unnamed: {i}" for i, name in enumerate(rows[0])], delimiter=delimiter)


def _of_yfinance(file: str, rows: list[list[str]], delimiter: str) -> Head:
    tickers = sorted(set(rows[1][1:]))
    if len(tickers) != 1:
        raise DataError(
            f"{file}: holds {len(tickers)} tickers side by side ({', '.join(tickers[:3])} ...); want them one below "
            'the other: write data.stack(level="Ticker", future_stack=True).to_csv(...)'
        )
    names = ["Date", *rows[0][1:]]
    _check(file, names)
    return Head(names=names, delimiter=delimiter, lines=3, constants={"Ticker": tickers[0]})


def _check(file: str, names: list[str]) -> None:
    twice = [name for name in names if name and names.count(name) > 1]
    if twice or not any(names):
        raise DataError(f"{file}: {'has two columns ' + twice[0] if twice else 'has no header'}")
