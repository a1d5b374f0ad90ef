"""Which columns of somebody's table are ours, where their names leave no doubt.

A column counts under its own name, or as another by ``--columns``. What is still missing is looked for among the
customary names below, without regard to case, spaces, points, hyphens, underscores and Qlib's dollar sign: one that
fits is taken and said, two are asked about.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

CUSTOMARY: Mapping[str, frozenset[str]] = {
    "instrument": frozenset(
        {
            *("instrument", "ticker", "symbol", "tscode", "code", "stockcode", "secid", "secucode", "securitycode"),
            *("security", "asset", "stock", "stkcd", "orderbookid", "windcode", "sinfowindcode"),
            *("股票代码", "证券代码", "代码"),
        }
    ),
    "datetime": frozenset(
        {
            "datetime",
            "date",
            "time",
            "tradetime",
            "bartime",
            "timestamp",
            "tradedate",
            "tradingdate",
            "tradedatetime",
            "日期",
            "交易日期",
            "时间",
        }
    ),
    "open": frozenset({"open", "openprice", "开盘", "开盘价"}),
    "high": frozenset({"high", "highprice", "最高", "最高价"}),
    "low": frozenset({"low", "lowprice", "最低", "最低价"}),
    "close": frozenset({"close", "closeprice", "收盘", "收盘价"}),
    "volume": frozenset({"volume", "vol", "tradingvolume", "成交量"}),
    "vwap": frozenset({"vwap"}),
    "factor": frozenset({"factor"}),
    "adj_close": frozenset({"adjclose", "adjustedclose"}),
    "amount": frozenset({"amount", "成交额"}),
}
"""Ours -> what it is called elsewhere, as `plain` writes it."""
CLOCKS = frozenset({"time", "tradetime", "bartime", "时间"})
"""What a time of day is called beside a date, as `plain` writes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recognised:
    """Ours -> theirs where one fits, ours -> those that fit where several do.

    ``clock``: a column of times beside a column of dates, which is the datetime of ``found``, should it hold such.
    """

    found: Mapping[str, str]
    doubtful: Mapping[str, tuple[str, ...]]
    clock: str | None = None


def recognised(names: Sequence[str], columns: Collection[str], wanted: Collection[str] = CUSTOMARY) -> Recognised:
    """Which of the ``names`` must mean what is ``wanted`` and not among ``columns`` (ours)."""
    found: dict[str, str] = {}
    doubtful: dict[str, tuple[str, ...]] = {}
    clock = None
    for ours, customary in CUSTOMARY.items():
        if ours in columns or ours not in wanted:
            continue
        fitting = [name for name in names if name not in CUSTOMARY and plain(name) in customary]
        if ours == "datetime" and len(fitting) == 2 and len(times := [n for n in fitting if plain(n) in CLOCKS]) == 1:
            clock = times[0]
            fitting.remove(clock)
        if len(fitting) > 1:
            doubtful[ours] = tuple(fitting)
        elif fitting:
            found[ours] = fitting[0]
    return Recognised(found=found, doubtful=doubtful, clock=clock)


def plain(name: str) -> str:
    """A name without what does not tell it from others: case, blanks, points, hyphens, underscores, and marks around.

    >>> plain("Adj Close"), plain("$close"), plain("1. open"), plain("<VOL>")
    ('adjclose', 'close', 'open', 'vol')
    """
    return re.sub(r"^\d+\.\s+|^[$<]|>$|[\s_.\-]+", "", name).lower()
