"""The bars dataset: prices and volumes of N instruments on one calendar.

    BARS/metadata.json                what it holds; names every file below; published last
    BARS/bars/part-00000-<hash>.parquet    instrument, datetime, <fields float32>
    BARS/calendar/calendar-<hash>.parquet  datetime
    BARS/universe/NAME-<hash>.parquet      instrument, start, end (null: still a member)

R rows, N instruments, T calendar entries. The rows of one instrument are contiguous, in the order of time,
and complete on the calendar from its first bar to its last; a suspended date is a row of NaN. An instrument may have
rows in several files, each of another range of time; no row is in two.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from raybench.columns.arrow import to_array
from raybench.columns.moments import Moment, end_moment, moment
from raybench.columns.types import Moments
from raybench.errors import DataError
from raybench.market.bars_metadata import BarsFile, BarsMetadata, content_hash
from raybench.market.block import FRAME, BarBlock, block_of, frame_columns
from raybench.market.reading import Piece, assembled, inside, piece_of
from raybench.market.universe import ALL, Universe, make_universe
from raybench.storage import files as storage
from raybench.storage import parquet
from raybench.storage.places import METADATA

__all__ = ["FRAME", "BarBlock", "Bars", "block_of", "cut", "frame_columns", "open_bars"]


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

    @property
    def causal(self) -> bool:
        """Whether ``all`` is what was known on each date; else its spans are the source's, or end with the bars."""
        return self.metadata.histories is not None and not self.metadata.given

    @functools.cached_property
    def instruments(self) -> tuple[str, ...]:
        """Every instrument that has bars, sorted."""
        known = self.metadata.histories
        if known is not None:
            return known.instruments
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
        if name not in self._listed:
            self._listed[name] = self._read_listed(name)
        return self._listed[name]

    @functools.cached_property
    def _listed(self) -> dict[str, Universe]:
        """The universes that were read."""
        return {}

    def _read_listed(self, name: str) -> Universe:
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

    def block(
        self,
        instruments: Sequence[str] | None = None,
        fields: Sequence[str] | None = None,
        *,
        start: Moment | None = None,
        end: Moment | None = None,
        lookback: int = 0,
        trailing: bool = False,
    ) -> BarBlock:
        """The bars of these instruments (default: all), sorted by name whatever the order asked for.

        From ``start`` to ``end``, both included and each optional (an end without a time is that whole day), and of
        the ``lookback`` calendar entries before ``start``: of each instrument that many rows, or fewer if it begins
        later. With a range, instruments without a row in it are left out of the block, and only row groups that may
        hold such rows are read.

        ``trailing``: behind the last row of an instrument there are rows of NaN for as long as a universe holds it, as
        there will be once it has bars again, so that a date is the same when it is new and later; without, the block
        is what was imported.
        """
        names = self.instruments if instruments is None else tuple(sorted(set(instruments)))
        wanted = self.fields if fields is None else tuple(fields)
        for kind, given, known in (("instrument", names, self.instruments), ("field", wanted, self.fields)):
            unknown = sorted(set(given) - set(known))
            if unknown:
                raise DataError(f"{self.uri}: no {kind} {', '.join(unknown[:5])} among the bars")
        first, last = moment(start), end_moment(end)
        if first is not None:
            begin = max(int(np.searchsorted(self.calendar, first)) - lookback, 0)
            first = self.calendar[begin] if begin < len(self.calendar) else first
        pieces = list(self._pieces(names, wanted, first, last))
        if trailing:
            pieces.append(self._trailing(names, wanted, first, last))
        return assembled(names, wanted, pieces, whole=first is None and last is None)

    def _pieces(
        self, names: Sequence[str], fields: Sequence[str], first: np.datetime64 | None, last: np.datetime64 | None
    ) -> Iterator[Piece]:
        """The rows of each file that may hold some; what an instrument has in a later file comes later."""
        code_of = {name: code for code, name in enumerate(names)}
        for file in self.files:
            begins, ends = file.span()
            if (last is not None and begins > last) or (first is not None and ends < first):
                continue
            if code_of.keys().isdisjoint(file.instruments):
                continue
            with self._reading():
                table = parquet.read_groups(
                    storage.join(self.uri, file.name), fields, names, first, last, footer=file.footer
                )
            yield piece_of(table, code_of, fields, first, last)

    def _trailing(
        self, names: Sequence[str], fields: Sequence[str], first: np.datetime64 | None, last: np.datetime64 | None
    ) -> Piece:
        """The rows of NaN behind the last ones."""
        codes, moments = [np.empty(0, np.int32)], [np.empty(0, "datetime64[us]")]
        known = self.metadata.histories
        for code, name in enumerate(names):
            rows = range(0) if known is None else known.trailing_rows(name)
            if rows:
                moment_R = self.calendar[rows.start : rows.stop]
                moment_R = moment_R[inside(moment_R, first, last)]
                moments.append(moment_R)
                codes.append(np.full(len(moment_R), code, np.int32))
        code_R = np.concatenate(codes)
        return code_R, np.concatenate(moments), [np.full(len(code_R), np.nan, np.float32) for _ in fields]

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
        """Whole instruments in groups of at most ``max_rows`` rows (or one), none across two files of old rows."""
        wanted = set(self.instruments if instruments is None else instruments)
        counts = self._counts()
        begins = {file.instruments[0] for file in self.files}
        groups: list[tuple[str, ...]] = []
        for names in _runs(self.instruments, begins):
            here = [name for name in names if name in wanted]
            groups += cut(here, [counts[name] for name in here], max_rows)
        return groups

    def lives(self, *, trailing: bool = True) -> dict[str, tuple[np.datetime64, np.datetime64]]:
        """When each instrument has its first row and its last, those that trail included or not."""
        known, calendar_T = self.metadata.histories, self.calendar
        if known is not None:
            lasts = np.add(known.starts, known.counts) - 1 + (np.array(known.trailing) if trailing else 0)
            ends = zip(calendar_T[list(known.starts)], calendar_T[lasts], strict=True)
            return dict(zip(known.instruments, ends, strict=True))
        lives: dict[str, tuple[np.datetime64, np.datetime64]] = {}
        every = self.listed(ALL)  # of older datasets: from the first row to the last
        for name, start, end in zip(every.instrument_K, every.start_K, every.last_K, strict=True):
            lives[name] = (min(start, lives[name][0]), max(end, lives[name][1])) if name in lives else (start, end)
        return lives

    def _counts(self) -> dict[str, int]:
        """How many rows each instrument has, those that trail included."""
        known = self.metadata.histories
        if known is not None:
            rows = (count + trailing for count, trailing in zip(known.counts, known.trailing, strict=True))
            return dict(zip(known.instruments, rows, strict=True))
        return {name: count for file in self.files for name, count in zip(file.instruments, file.counts, strict=True)}


def open_bars(uri: storage.Uri) -> Bars:
    """The bars dataset at ``uri``."""
    place = storage.open_location(uri)
    file = storage.join(place.uri, METADATA)
    data = storage.read_if_there(file)
    if data is None:
        storage.refuse_missing_bucket(place.uri)
        raise DataError(f"{place.uri}: is not a bars dataset (no {METADATA}); make one with `raybench import`")
    return Bars(uri=place.uri, metadata=BarsMetadata.from_json(data, where=file))


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


def _runs(names: Sequence[str], begins: Collection[str]) -> Iterator[list[str]]:
    """Neighbours up to the next of ``begins``."""
    run: list[str] = []
    for name in names:
        if run and name in begins:
            yield run
            run = []
        run.append(name)
    yield run


def _moments(column: Any) -> Moments:
    """An Arrow column as datetime64[us]; nulls become NaT."""
    return to_array(column.cast(pa.timestamp("us")))
