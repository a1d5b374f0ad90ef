"""Which columns of somebody's table are ours, where their names leave no doubt.

A column counts under its own name, or as another by ``--columns``. What is still missing is looked for among the
customary names below, without regard to case, spaces, points, hyphens and underscores: one that fits is taken and said,
two are asked about.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

from raybench.errors import DataError

CUSTOMARY: Mapping[str, frozenset[str]] = {
    "instrument": frozenset(
        {"instrument", "ticker", "symbol", "tscode", "code", "stockcode", "secid", "股票代码", "证券代码", "代码"}
    ),
    "datetime": frozenset(
        {
            "datetime",
            "date",
            "time",
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


def recognised(file: str, names: Sequence[str], columns: Collection[str]) -> dict[str, str]:
    """Ours -> theirs for what is not among ``columns`` (ours) and one of the ``names`` of ``file`` must mean.

    DataError where two could be meant.
    """
    found: dict[str, str] = {}
    for ours, customary in CUSTOMARY.items():
        if ours in columns:
            continue
        fitting = [name for name in names if name not in CUSTOMARY and plain(name) in customary]
        if len(fitting) > 1:
            both = " and ".join(fitting[:2])
            raise DataError(
                f"{file}: {both} could both be the {ours}; say which it is with --columns {fitting[0]}={ours}, "
                f"or leave one out with --columns {fitting[1]}="
            )
        if fitting:
            found[ours] = fitting[0]
    return found


def plain(name: str) -> str:
    """A name without what does not tell it from others: case, spaces, points, hyphens, underscores."""
    return re.sub(r"[\s_.\-]+", "", name).lower()
