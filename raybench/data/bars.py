"""The bars dataset: prices and volumes of N instruments on one calendar.

    BARS/metadata.json                what it holds; names every file below; published last
    BARS/bars/part-00000-<hash>.parquet    instrument, datetime, <fields float32>, whole instruments, sorted
    BARS/calendar/calendar-<hash>.parquet  datetime
    BARS/universe/NAME-<hash>.parquet      instrument, start, end (null: still a member)

R rows, N instruments, T calendar entries. The rows of one instrument are contiguous, in the order of time,
and complete on the calendar from its first bar to its last; a suspended date is a row of NaN.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from raybench.data import moments, numbers, parquet, storage
from raybench.data.arrow import to_array
from raybench.data.bars_metadata import METADATA, BarsFile, BarsMetadata, content_hash
from raybench.data.calendar import Floats, Moments, complete
from raybench.data.frames import long_frame
from raybench.data.universe import Universe, make_universe
from raybench.errors import DataError

if TYPE_CHECKING:  # half a second that scoring a date does without
    import pandas as pd


@dataclass(frozen=True, slots=True, kw_only=True)
class BarBlock:
    """The bars of some instruments in memory.

    Parameters
    ----------
    instruments : N names, sorted
    start_N1 : int64 [N + 1], rows ``start_N1[i]`` to ``start_N1[i + 1]`` belong to ``instruments[i]``
    datetime_R : datetime64[us] [R]
    fields : name -> float32 [R]
    """

    instruments: tuple[str, ...]
    start_N1: NDArray[np.int64]
    datetime_R: Moments
    fields: dict[str, Floats]

    @property
    def rows(self) -> int:
        return len(self.datetime_R)

    @property
    def code_R(self) -> NDArray[np.int32]:
        """Which of ``instruments`` each row belongs to."""
        return np.repeat(np.arange(len(self.instruments), dtype=np.int32), np.diff(self.start_N1))

    def slice(self, i: int) -> BarBlock:
        """The block of ``instruments[i]`` alone; no copy."""
        start, stop = int(self.start_N1[i]), int(self.start_N1[i + 1])
        return BarBlock(
            instruments=(self.instruments[i],),
            start_N1=np.array([0, stop - start], dtype=np.int64),
            datetime_R=self.datetime_R[start:stop],
            fields={name: value_R[start:stop] for name, value_R in self.fields.items()},
        )

    def since(self, moment: np.datetime64) -> BarBlock:
        """The rows from ``moment`` on, without instruments that ended before."""
        kept_R = self.datetime_R >= moment
        if kept_R.all():
            return self
        count_N = np.add.reduceat(np.r_[kept_R, False], self.start_N1[:-1]) * (np.diff(self.start_N1) > 0)
        there_N = count_N > 0
        return BarBlock(
            instruments=tuple(name for name, there in zip(self.instruments, there_N, strict=True) if there),
            start_N1=np.cumsum([0, *count_N[there_N]]).astype(np.int64),
            datetime_R=self.datetime_R[kept_R],
            fields={name: value_R[kept_R] for name, value_R in self.fields.items()},
        )

    def to_frame(self) -> pd.DataFrame:
        """A table with the columns instrument, datetime and the fields."""
        import pandas as pd

        names = np.repeat(np.array(self.instruments, dtype=object), np.diff(self.start_N1))
        return pd.DataFrame({"instrument": names, "datetime": self.datetime_R, **self.fields})

    @classmethod
    def from_frame(cls, bars: pd.DataFrame, fields: Sequence[str] | None = None) -> BarBlock:
        """From a table with the columns (or index levels) instrument, datetime, and numeric fields.

        Rows may come in any order; the calendar is the dates that occur, and what an instrument lacks between
        its first bar and its last becomes NaN rows.
        """
        import pandas as pd

        bars = long_frame(bars, what=_FRAME, series="close")
        missing = [c for c in fields or () if c not in bars.columns]
        if missing:
            raise DataError(f"the bars have no column {missing[0]}; they have {', '.join(map(str, bars.columns))}")
        datetime_R = moments.datetimes(bars["datetime"], where=_FRAME)
        code_R, named = pd.factorize(moments.names(bars["instrument"], where=_FRAME).to_numpy(False), sort=True)
        order = np.lexsort((datetime_R, code_R))
        datetime_R, code_R = datetime_R[order], code_R[order]
        double = np.flatnonzero((code_R[1:] == code_R[:-1]) & (datetime_R[1:] == datetime_R[:-1]))
        if len(double):
            at = double[0]
            raise DataError(f"{_FRAME} have two rows for {named[code_R[at]]} at {datetime_R[at]}; want one")
        values = {name: value_R[order] for name, value_R in _fields(bars, fields).items()}
        edges = np.searchsorted(code_R, np.arange(len(named) + 1)).tolist()
        calendar_T = np.unique(datetime_R)
        return block_of(
            (name, *complete(calendar_T, datetime_R[a:b], {f: v_R[a:b] for f, v_R in values.items()}))
            for name, (a, b) in zip(named, itertools.pairwise(edges), strict=True)
        )


_FRAME = "the bars"
_FIELDS = ("open", "high", "low", "close", "volume", "vwap")


def _fields(bars: pd.DataFrame, wanted: Sequence[str] | None) -> dict[str, Floats]:
    """Columns of a frame as float32: those wanted, else every one that holds numbers, objects of them included."""
    found: dict[str, Floats] = {}
    for name in bars.columns if wanted is None else wanted:
        if name in ("instrument", "datetime"):
            continue
        column = moments.arrow(bars[name])
        mixed = moments.is_text(column.type) and bars[name].dtype == object  # numbers of several kinds, or text
        number = numbers.is_number(column.type) or (mixed and numbers.mostly_numbers(column))
        if wanted is not None or name in _FIELDS or number:
            found[str(name)] = numbers.floats(column, str(name), where=_FRAME)
    return found


def block_of(parts: Iterator[tuple[str, Moments, dict[str, Floats]]]) -> BarBlock:
    """Join instruments, each complete and given in sorted order, to one block."""
    names, moments, columns = [], [], []
    for name, datetime_R, fields in parts:
        names.append(name)
        moments.append(datetime_R)
        columns.append(fields)
    return BarBlock(
        instruments=tuple(names),
        start_N1=np.cumsum([0, *map(len, moments)]).astype(np.int64),
        datetime_R=np.concatenate([np.empty(0, "datetime64[us]"), *moments]),
        fields={f: np.concatenate([c[f] for c in columns]) for f in (columns[0] if columns else ())},
    )


@dataclass(frozen=True, kw_only=True)
class Bars:
    """An opened bars dataset. It holds no bars, only what its metadata says, so it travels well."""

    uri: str
    metadata: BarsMetadata

    @property
    def fingerprint(self) -> str:
        """A hash of the content: calendar, universes and every value; not of how it is cut into files."""
        return self.metadata.fingerprint

    @property
    def frequency(self) -> str:
        return self.metadata.frequency

    @property
    def fields(self) -> tuple[str, ...]:
        return self.metadata.fields

    @property
    def files(self) -> tuple[BarsFile, ...]:
        return self.metadata.files

    @property
    def universes(self) -> tuple[str, ...]:
        """The names that ``universe`` knows."""
        return tuple(self.metadata.universes)

    @functools.cached_property
    def instruments(self) -> tuple[str, ...]:
        """Every instrument that has bars, sorted."""
        return tuple(name for file in self.files for name in file.instruments)

    @functools.cached_property
    def calendar(self) -> Moments:
        """Every point in time, datetime64[us] [T]; read when first asked for."""
        with self._reading():
            table = self._small(self.metadata.calendar, ["datetime"])
        return _moments(table["datetime"])

    def __getstate__(self) -> dict[str, Any]:
        return {"uri": self.uri, "metadata": self.metadata}

    def universe(self, name: str) -> Universe:
        """The spans of a universe, without the members that have no bars."""
        if name not in self.metadata.universes:
            raise DataError(f"{self.uri}: no universe {name}; it has {', '.join(self.universes)}")
        kept = self.listed(name).keep(self.instruments)
        if not kept.instrument_K:
            raise DataError(f"{self.uri}: no member of universe {name} has bars")
        return kept

    def listed(self, name: str) -> Universe:
        """The spans of a universe as they were given, members without bars included."""
        file = storage.join(self.uri, self.metadata.universes[name])
        with self._reading():
            table = self._small(self.metadata.universes[name], ["instrument", "start", "end"])
        return make_universe(
            name,
            table["instrument"].to_pylist(),
            _moments(table["start"]),
            _moments(table["end"]),
            where=file,
        )

    def block(self, instruments: Sequence[str] | None = None, fields: Sequence[str] | None = None) -> BarBlock:
        """The bars of these instruments (default: all), sorted by name whatever the order asked for."""
        names = self.instruments if instruments is None else tuple(sorted(set(instruments)))
        wanted = self.fields if fields is None else tuple(fields)
        for kind, given, known in (("instrument", names, self.instruments), ("field", wanted, self.fields)):
            unknown = sorted(set(given) - set(known))
            if unknown:
                raise DataError(f"{self.uri}: no {kind} {', '.join(unknown[:5])} among the bars")
        counts: list[int] = []
        moments: list[Moments] = [np.empty(0, "datetime64[us]")]
        values: dict[str, list[Floats]] = {field: [np.empty(0, np.float32)] for field in wanted}
        for file in self.files:
            rows = file.rows_of()
            ranges = [rows[name] for name in names if name in rows]
            if not ranges:
                continue
            with self._reading():
                table = parquet.read_rows(
                    storage.join(self.uri, file.name), ["datetime", *wanted], ranges, footer=file.footer
                )
            counts += map(len, ranges)
            moments.append(_moments(table["datetime"]))
            for field in wanted:
                values[field].append(to_array(table[field]))
        return BarBlock(
            instruments=names,
            start_N1=np.cumsum([0, *counts]).astype(np.int64),
            datetime_R=np.concatenate(moments),
            fields={field: np.concatenate(parts) for field, parts in values.items()},
        )

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        """Where a file cannot be read because an import has put others in place, say that.

        Names tell contents, so what can be read is what the metadata speaks of.
        """
        try:
            yield
        except DataError:
            if self._replaced():
                raise DataError(f"{self.uri}: an import changed the bars while they were read; run again") from None
            raise

    def _small(self, name: str, columns: list[str]) -> Any:
        """The calendar or a universe; its name ends in the first digits of its hash."""
        return parquet.read_whole(storage.join(self.uri, name), columns, content_hash(name))

    def _replaced(self) -> bool:
        try:
            return open_bars(self.uri).metadata != self.metadata
        except DataError:  # gone as a whole
            return False

    def groups(self, instruments: Sequence[str] | None = None, max_rows: int = 200_000) -> list[tuple[str, ...]]:
        """Whole instruments in groups of at most ``max_rows`` rows (or one), none across two files."""
        wanted = set(self.instruments if instruments is None else instruments)
        groups: list[tuple[str, ...]] = []
        for file in self.files:
            here = [(n, c) for n, c in zip(file.instruments, file.counts, strict=True) if n in wanted]
            groups += cut([n for n, _ in here], [c for _, c in here], max_rows)
        return groups


def open_bars(uri: storage.Uri) -> Bars:
    """The bars dataset at ``uri``."""
    place = storage.open_location(uri)
    file = storage.join(place.uri, METADATA)
    if not storage.exists(file):
        raise DataError(f"{place.uri}: is not a bars dataset (no {METADATA}); make one with `raybench import`")
    return Bars(uri=place.uri, metadata=BarsMetadata.from_json(storage.read_bytes(file), where=file))


def cut(names: Sequence[str], counts: Sequence[int], max_rows: int) -> list[tuple[str, ...]]:
    """Neighbours in groups of at most ``max_rows`` rows; one that is larger is a group of its own."""
    groups: list[list[str]] = []
    room = 0
    for name, count in zip(names, counts, strict=True):
        if not groups or count > room:
            groups.append([])
            room = max_rows
        groups[-1].append(name)
        room -= count
    return [tuple(group) for group in groups]


def _moments(column: Any) -> Moments:
    """An Arrow column as datetime64[us]; nulls become NaT."""
    return to_array(column.cast(pa.timestamp("us")))
