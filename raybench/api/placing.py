"""Frames on the disk, for what works on datasets: a folder that lies there as long as it is needed."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa

from raybench.columns import moments
from raybench.columns.frames import is_frame, long_frame
from raybench.errors import RunError, UserError
from raybench.feature_sets.table import open_features
from raybench.market.bars import open_bars
from raybench.market.importing.frames import frame_source
from raybench.market.importing.job import import_bars
from raybench.market.universe import ALL, universe_of_bars
from raybench.storage import files, rooms
from raybench.storage.encoding import encode_table
from raybench.storage.places import METADATA

Place = str | os.PathLike[str]


class Placement:
    """A folder for frames: temporary, or ``beside`` a run that will name what lies in it."""

    def __init__(self, beside: Place | None = None) -> None:
        self._room: tuple[str, int] | None = None
        self._root = None if beside is None else files.sibling(beside, ".data")
        self._run = beside
        self._put: list[str] = []
        self.warnings: list[str] = []  # what is probably not meant about the frames

    def __enter__(self) -> Placement:
        return self

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        if error is not None and self._run is not None:
            self._take_back(self._run)
        if self._room is None:
            return
        rooms.leave(*self._room)
        if isinstance(error, UserError) and self.said(str(error)) != str(error):
            raise type(error)(self.said(str(error))) from error.__cause__

    def said(self, text: str) -> str:
        """A text that names the argument a frame was given as, not the temporary folder it lies in."""
        if self._room is None:
            return text
        return re.sub(re.escape(f"{self._root}/") + r"(\w+)(?:\.parquet)?", r"\1=", text)

    def folder(self, name: str) -> str:
        """Where something of that name lies."""
        if self._root is None:
            self._room = rooms.own(rooms.FRAMES)
            self._root = os.path.realpath(self._room[0])
        return files.join(self._root, name)

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
        source, to = frame_source(frame), self.folder("bars")
        known = source.settled({}, None)
        ranges = {name: (known.calendar[at.start], known.calendar[at.stop - 1]) for name, at in known.spans.items()}
        universes = {} if universe == ALL else {universe: replace(universe_of_bars(ranges), name=universe)}
        if not self._kept(files.join(to, METADATA)):
            done = import_bars(source, to, universes=universes, replace=self._run is None)
            self._put.append(to)
        else:
            with rooms.room(rooms.FRAMES) as folder:
                done = import_bars(source, files.join(folder, "bars"), universes=universes)
            self._refuse_others("bars", to, same=done.metadata.fingerprint == open_bars(to).fingerprint)
        self.warnings += done.warnings
        return open_bars(to).uri

    def _write_table(self, frame: Any, name: str, what: str) -> str:
        table = long_frame(frame, what=what)
        named = moments.names(table["instrument"], where=what)
        when = pa.array(moments.datetimes(table["datetime"], where=what), moments.STAMP)
        rest = table.drop(columns=["instrument", "datetime"]).rename(columns=str)
        columns = {"instrument": named, "datetime": when, **{c: moments.arrow(rest[c]) for c in rest.columns}}
        data, to = encode_table(pa.table(columns), metadata={}), self.folder(name)
        if self._kept(to):
            self._refuse_others(what, to, same=files.read_bytes(to) == data)
        else:
            files.publish_bytes(to, data)
            self._put.append(to)
        return to if what == "scores" else open_features(to).uri

    def _kept(self, file: str) -> bool:
        """Whether a run may have been trained on what lies there."""
        return self._run is not None and files.exists(file)

    def _refuse_others(self, what: str, to: str, *, same: bool) -> None:
        if not same:
            raise RunError(
                f"{to}: holds other {what} than {what}=, kept there for the run {self._run}; give those, choose "
                f"another out=, or remove {self._root} if no run needs them"
            )

    def _take_back(self, run: Place) -> None:
        """Remove what was put beside a run that learned nothing from it."""
        from raybench.cluster.jobs.ownership import learned_at

        with contextlib.suppress(UserError):  # a store that does not answer now
            if self._put and not learned_at(os.fspath(run)):
                for place in self._put:
                    (files.discard if files.is_folder(place) else files.remove)(place)
                if not files.children(self._root or ""):
                    files.discard(self._root or "")


def default_out(kind: str) -> str:
    """A run directory that is not there yet, in the working directory."""
    from datetime import datetime

    stem = Path("runs") / f"{kind}-{datetime.now():%Y%m%d-%H%M%S}"
    places = [stem, *(stem.with_name(f"{stem.name}-{i}") for i in range(2, 1000))]
    return str(next(place for place in places if not place.exists()))
