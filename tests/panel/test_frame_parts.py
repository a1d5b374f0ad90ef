"""What is counted beside the rows of bars: prices that are none, and closes that are those of the day before again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from raybench.config.data.label import parse_label
from raybench.market.bars import BarBlock, open_bars
from raybench.market.importing.job import import_bars
from raybench.market.sources.source import memory_source
from raybench.panel.filled import FRESH
from raybench.panel.frame_parts import BarRows, count_traded

DAYS = pd.bdate_range("2020-01-01", periods=30)
NAMES = [f"I{i}" for i in range(8)]


def market() -> pd.DataFrame:
    keys = pd.MultiIndex.from_product([NAMES, DAYS], names=["instrument", "datetime"])
    price = np.random.default_rng(0).lognormal(size=(len(keys), 4))
    rows = pd.DataFrame(price, keys, ["open", "high", "low", "close"]).assign(volume=0.0, vwap=0.0)
    return rows.reset_index()


def test_a_price_of_zero_is_no_number(tmp_path: Path) -> None:
    """Some write what is not known so: it would look like a bar, and a run would be scored on it."""
    rows = market()
    rows.loc[(rows["datetime"] == DAYS[-1]) & (rows["instrument"] > "I2"), ["open", "high", "low", "close"]] = 0.0
    bars = open_bars(import_bars(memory_source(BarBlock.from_frame(rows)), tmp_path).uri)
    part = BarRows(
        bars=bars,
        universe=bars.universe("all"),
        label=parse_label("Ref($close, -2) / Ref($close, -1) - 1"),
        start=DAYS[-2].to_datetime64(),
        end=DAYS[-1].to_datetime64(),
        columns=("KMID",),
        step_len=1,
        counted=("close", "volume", "vwap"),
    ).part(NAMES)
    assert part.filled is not None
    assert dict(zip(part.filled.names, part.filled.count_DK.T.tolist(), strict=True)) == {
        "close": [8, 3],
        "volume": [8, 8],
        "vwap": [0, 0],
    }


def test_closes_that_are_those_of_the_day_before_are_counted_apart() -> None:
    rows = market()
    close = rows["close"].where((rows["datetime"] != DAYS[5]) | (rows["instrument"] < "I6"))
    again = (rows["datetime"] == DAYS[6]) & (rows["instrument"] > "I4")
    block = BarBlock.from_frame(rows.assign(close=close.where(~again, close.ffill().shift(1))))
    traded = count_traded(block, np.ones(block.rows, bool))
    assert traded is not None
    assert traded.names == ("close", FRESH)
    assert traded.there_D[4:8].tolist() == [8, 6, 8, 8]
    assert traded.count_DK[4:8, 1].tolist() == [8, 6, 5, 8]
