"""A reader of Qlib's binary files in a few lines, so that feature tests do not lean on the import."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from raybench.market.bars import BarBlock

FIELDS = ("open", "high", "low", "close", "volume")


def read_bins(root: Path, instruments: list[str]) -> BarBlock:
    calendar = np.array((root / "calendars/day.txt").read_text().split(), dtype="datetime64[us]")
    values: dict[str, list[NDArray[np.float32]]] = {field: [] for field in FIELDS}
    dates, lengths = [], [0]
    for name in instruments:
        for field in FIELDS:
            data = np.fromfile(root / "features" / name.lower() / f"{field}.day.bin", "<f4")
            values[field].append(data[1:])
        first = int(data[0])
        dates.append(calendar[first : first + len(data) - 1])
        lengths.append(len(data) - 1)
    return BarBlock(
        instruments=tuple(instruments),
        start_N1=np.cumsum(lengths),
        datetime_R=np.concatenate(dates),
        fields={field: np.concatenate(parts) for field, parts in values.items()},
    )


def rows_of(block: BarBlock, keys: pd.DataFrame) -> NDArray[np.int64]:
    """Row of the block for each (instrument, datetime) of ``keys``."""
    names = np.repeat(block.instruments, np.diff(block.start_N1))
    rows = pd.MultiIndex.from_arrays([names, block.datetime_R])
    found = rows.get_indexer(pd.MultiIndex.from_frame(keys[["instrument", "datetime"]]))
    assert (found >= 0).all()
    return found.astype(np.int64)
