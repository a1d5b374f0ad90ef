"""Looking at score tables as files, and making bars out of others."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from raybench.market.bars import BarBlock, open_bars
from raybench.market.importing.job import import_bars
from raybench.market.sources import memory_source


def files_of(scores: str | Path) -> dict[str, Path]:
    """The file of each date, in order; nothing else may lie in the folder."""
    files = sorted(path for path in Path(scores).rglob("*") if path.is_file())
    assert all(path.name == "scores.parquet" and path.parent.parent == Path(scores) for path in files)
    return {path.parent.name.removeprefix("date="): path for path in files}


def bytes_of(scores: str | Path) -> dict[str, bytes]:
    """The content of the file of each date."""
    return {day: file.read_bytes() for day, file in files_of(scores).items()}


def tables_of(scores: str | Path) -> dict[str, pa.Table]:
    """What the file of each date holds, its footer left aside: that tells from which source the rows came."""
    read = {day: pq.read_table(file, partitioning=None) for day, file in files_of(scores).items()}
    return {day: table.replace_schema_metadata(None) for day, table in read.items()}


def days_of(scores: str | Path) -> list[str]:
    """The dates of a table."""
    return list(files_of(scores))


def import_frame(frame: pd.DataFrame, to: str, *, like: str | None = None) -> str:
    """Import bars in memory, with the universes of another dataset if there is one."""
    bars = None if like is None else open_bars(like)
    universes = {} if bars is None else {name: bars.listed(name) for name in bars.universes if name != "all"}
    return import_bars(memory_source(BarBlock.from_frame(frame)), to, universes=universes).uri


def copied(scores: str, tmp_path: Path) -> str:
    """A copy of a score table, to be changed."""
    to = tmp_path / "scores"
    shutil.copytree(scores, to)
    return str(to)


def times_of(scores: str) -> dict[str, int]:
    """When the file of each date was written."""
    return {day: file.stat().st_mtime_ns for day, file in files_of(scores).items()}
