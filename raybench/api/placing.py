"""Frames on the disk, for what works on datasets: a folder that lies there as long as it is needed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa

from raybench.data import moments, storage
from raybench.data.bars import BarBlock, open_bars
from raybench.data.feature_table import open_features
from raybench.data.frames import is_frame, long_frame
from raybench.data.import_bars import import_bars
from raybench.data.sources import memory_source
from raybench.data.universe import ALL, make_universe

Place = str | os.PathLike[str]


class Placed:
    """A folder for frames: temporary, or ``beside`` a run that will name what lies in it."""

    def __init__(self, beside: Place | None = None) -> None:
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._root = None if beside is None else storage.sibling(beside, ".data")

    def __enter__(self) -> Placed:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self._temporary is not None:
            self._temporary.cleanup()

    def folder(self, name: str) -> str:
        """Where something of that name lies."""
        if self._root is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="raybench-")
            self._root = self._temporary.name
        return storage.join(self._root, name)

    def bars(self, value: Any, universe: str = ALL) -> str | None:
        """The bars dataset of a frame; everybody in it is a member of ``universe``. An address stays as it is."""
        return self._place(value, lambda frame: self._write_bars(frame, universe))

    def features(self, value: Any) -> str | None:
        """The feature table of a frame. An address stays as it is."""
        return self._place(value, lambda frame: self._write_table(frame, "features.parquet", "features"))

    def scores(self, value: Any) -> str | None:
        """The score table of a frame or a series. An address stays as it is."""
        return self._place(value, lambda frame: self._write_table(frame, "scores.parquet", "scores"))

    @staticmethod
    def _place(value: Any, write: Callable[[Any], str]) -> str | None:
        if value is None:
            return None
        return write(value) if is_frame(value) else os.fspath(value)

    def _write_bars(self, frame: Any, universe: str) -> str:
        block = BarBlock.from_frame(frame)
        first, last = block.datetime_R[block.start_N1[:-1]], block.datetime_R[block.start_N1[1:] - 1]
        everybody = make_universe(universe, block.instruments, first, last, where="the bars")
        to = self.folder("bars")
        import_bars(memory_source(block), to, universes={} if universe == ALL else {universe: everybody}, replace=True)
        return open_bars(to).uri

    def _write_table(self, frame: Any, name: str, what: str) -> str:
        table = long_frame(frame, what=what)
        named = moments.names(table["instrument"], where=what)
        when = pa.array(moments.datetimes(table["datetime"], where=what), moments.STAMP)
        rest = table.drop(columns=["instrument", "datetime"]).rename(columns=str)
        columns = {"instrument": named, "datetime": when, **{c: moments.arrow(rest[c]) for c in rest.columns}}
        to = self.folder(name)
        storage.publish_table(to, pa.table(columns), metadata={})
        return to if what == "scores" else open_features(to).uri


def default_out(kind: str) -> str:
    """A run directory that is not there yet, in the working directory."""
    from datetime import datetime

    stem = Path("runs") / f"{kind}-{datetime.now():%Y%m%d-%H%M%S}"
    places = [stem, *(stem.with_name(f"{stem.name}-{i}") for i in range(2, 1000))]
    return str(next(place for place in places if not place.exists()))
