"""Rows in any order -> one instrument at a time, without holding them all in memory.

Batches are written to a local temporary folder, one flat file per column, each batch sorted by instrument;
where the rows of each instrument lie is remembered. Nothing of it outlives the object; what a killed process left
goes with the next spool.
"""

from __future__ import annotations

import weakref
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from raybench.columns.types import Floats, Moments
from raybench.market.calendar import union
from raybench.storage import rooms

_DATETIME = "datetime"
PREFIX = "raybench-import-"


class Spool:
    """A store for rows of (instrument, datetime, fields); append first, take afterwards."""

    def __init__(self, fields: Sequence[str]) -> None:
        folder, lock = rooms.own(PREFIX)
        weakref.finalize(self, rooms.leave, folder, lock)
        self._paths = {name: Path(folder, f"{i}.bin") for i, name in enumerate((_DATETIME, *fields))}
        self._types = dict.fromkeys(fields, "<f4") | {_DATETIME: "<M8[us]"}
        self._pieces: dict[str, list[tuple[range, str]]] = defaultdict(list)
        self._rows = 0
        self._mapped: dict[str, Any] = {}
        self.calendar: Moments = np.empty(0, "datetime64[us]")

    @property
    def instruments(self) -> list[str]:
        """Every instrument with rows, sorted."""
        return sorted(self._pieces)

    def __contains__(self, instrument: str) -> bool:
        return instrument in self._pieces

    def extent(self, instrument: str) -> tuple[np.datetime64, np.datetime64]:
        """The first and the last moment of an instrument."""
        datetime_R = self.moments(instrument)
        return datetime_R.min(), datetime_R.max()

    def append(self, instrument_R: Any, datetime_R: Moments, fields: Mapping[str, Floats], origin: str) -> None:
        """Add rows; ``instrument_R`` is an Arrow string array, ``origin`` the file they are from.

        A field that is not given is NaN. DataError if the temporary folder is full.
        """
        coded = instrument_R.dictionary_encode()
        code_R = coded.indices.to_numpy(zero_copy_only=False)
        order_R = np.argsort(code_R, kind="stable")
        edges = np.searchsorted(code_R[order_R], np.arange(len(coded.dictionary) + 1))
        for code, name in enumerate(coded.dictionary.to_pylist()):
            rows = range(self._rows + int(edges[code]), self._rows + int(edges[code + 1]))
            self._pieces[name].append((rows, origin))
        for name, path in self._paths.items():
            value_R = datetime_R if name == _DATETIME else fields.get(name)
            if value_R is None:
                value_R = np.full(len(code_R), np.nan, dtype=np.float32)
            try:
                with path.open("ab") as stream:
                    stream.write(np.ascontiguousarray(value_R[order_R], dtype=self._types[name]).view("u1").data)
            except OSError as error:
                raise rooms.no_room(error) from error
        self._rows += len(code_R)
        self.calendar = union(self.calendar, np.unique(datetime_R))

    def moments(self, instrument: str) -> Moments:
        """The moments of an instrument, as they came."""
        moments: Moments = self._gather(instrument, _DATETIME)
        return moments

    def values(self, instrument: str, field: str) -> Floats:
        """The values of a field of an instrument, in the order of its moments."""
        values: Floats = self._gather(instrument, field)
        return values

    def take(self, instrument: str) -> tuple[Moments, dict[str, Floats]]:
        """The moments and values of an instrument in the order of time."""
        datetime_R = self.moments(instrument)
        order_R = np.argsort(datetime_R, kind="stable")
        fields = {f: self._gather(instrument, f)[order_R] for f in self._paths if f != _DATETIME}
        return datetime_R[order_R], fields

    def origins(self, instrument: str, when: np.datetime64) -> list[str]:
        """The files that have rows of an instrument at a moment, one entry per row."""
        at = [(self._map(_DATETIME)[rows.start : rows.stop] == when, o) for rows, o in self._pieces[instrument]]
        return [origin for hits, origin in at for _ in range(int(hits.sum()))]

    def _gather(self, instrument: str, column: str) -> Any:
        mapped = self._map(column)
        return np.concatenate([mapped[rows.start : rows.stop] for rows, _ in self._pieces[instrument]])

    def _map(self, column: str) -> Any:
        if column not in self._mapped:
            self._mapped[column] = np.memmap(self._paths[column], dtype=self._types[column], mode="r")
        return self._mapped[column]
