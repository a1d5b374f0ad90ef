"""Looking at score tables as files, and making bars out of others."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from raybench.data.bars import BarBlock, open_bars
from raybench.data.import_bars import import_bars
from raybench.data.sources import memory_source


def files_of(scores: str | Path) -> dict[str, Path]:
    """The file of each date, in order; nothing else may lie in the folder."""
    files = sorted(path for path in Path(scores).rglob("*") if path.is_file())
    assert all(path.name == "scores.parquet" and path.parent.parent == Path(scores) for path in files)
    return {path.parent.name.removeprefix("date="): path for path in files}


def bytes_of(scores: str | Path) -> dict[str, bytes]:
    """The content of the file of each date."""
    return {day: file.read_bytes() for day, file in files_of(scores).items()}


def days_of(scores: str | Path) -> list[str]:
    """The dates of a table."""
    return list(files_of(scores))


def import_frame(frame: pd.DataFrame, to: str, *, like: str) -> str:
    """Import bars in memory with the universes of another dataset."""
    bars = open_bars(like)
    universes = {name: bars.listed(name) for name in bars.universes if name != "all"}
    return import_bars(memory_source(BarBlock.from_frame(frame)), to, universes=universes).uri
