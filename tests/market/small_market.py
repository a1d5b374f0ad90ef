"""Random bars with everything that bars have: holes, late listings, idle days, a flat stretch."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from raybench.market.bars import BarBlock


def market(instruments: int = 3, dates: int = 400, seed: int = 0) -> BarBlock:
    """Random bars with suspended dates, a late listing and idle days."""
    rng = np.random.default_rng(seed)
    frames = []
    for n in range(instruments):
        day = pd.bdate_range("2020-01-01", periods=dates)[n * 30 :]
        close = np.exp(rng.normal(0, 0.02, len(day)).cumsum() + 2)
        spread = rng.uniform(0, 0.03, (2, len(day)))
        frame = pd.DataFrame({"instrument": f"I{n}", "datetime": day, "open": close * rng.normal(1, 0.01, len(day))})
        frame = frame.assign(close=close, volume=rng.lognormal(12, 1, len(day)))
        frame["high"] = frame[["open", "close"]].max(axis=1) * (1 + spread[0])
        frame["low"] = frame[["open", "close"]].min(axis=1) * (1 - spread[1])
        frame.loc[rng.random(len(day)) < 0.05, ["open", "high", "low", "close", "volume"]] = np.nan
        frame.loc[rng.random(len(day)) < 0.02, "volume"] = 0.0
        frame.loc[100:180, ["open", "high", "low", "close"]] = 7.5
        frames.append(frame)
    rows = pd.concat(frames)
    return BarBlock.from_frame(rows[rows["datetime"].isin(rows.dropna()["datetime"])])  # a date has somebody's bar


def with_fields(block: BarBlock, fields: dict[str, NDArray[np.float32]]) -> BarBlock:
    return BarBlock(instruments=block.instruments, start_N1=block.start_N1, datetime_R=block.datetime_R, fields=fields)
