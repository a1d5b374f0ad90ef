"""Tables of rows (instrument, datetime, open, high, low, close, volume, ...) as a source of bars.

One file or a folder of them, in any order. A file without a column ``instrument`` holds the instrument that its
path names (`file_names`). Other numeric columns are kept as fields. The calendar is all datetimes that occur,
until it is settled: see `table_dates`.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from raybench.columns import typed
from raybench.columns.clock_times import is_clock, joined
from raybench.columns.names import recognised
from raybench.columns.types import Floats, Moments
from raybench.errors import DataError
from raybench.market.bars import BarBlock, block_of
from raybench.market.calendar import complete, no_moments
from raybench.market.census import DateRules, Mask, has_bar, repeats
from raybench.market.quality import PRICES, Findings, clock, found, merge
from raybench.market.sources.clocks import (
    Clocks,
    ZoneClocks,
    check_zones,
    day_before,
    differing,
    read_clocks,
    zone_clocks,
)
from raybench.market.sources.file_names import INSTRUMENT_LIKE, instruments_of, partitions, refuse_pieces
from raybench.market.sources.letter_case import differing_in_case, spelt_alike
from raybench.market.sources.path_dates import PathSays, date_of
from raybench.market.sources.source import REQUIRED, field_order
from raybench.market.sources.spool import Spool
from raybench.market.sources.table_dates import settle
from raybench.market.sources.unread import ROW_NUMBERS, names_of_several, unread_files
from raybench.market.universe import ALL, Universe
from raybench.progress import SILENT, Progress
from raybench.reports.text import numbered
from raybench.storage import files as storage

CLOCK = "time of day"  # of a datetime whose date is another column; no field is called so
KEYS = ("instrument", "datetime", CLOCK)


class TableFormat(Protocol):
    """How to read one kind of table file: `CsvTables`, or the module ``parquet_tables``."""

    @property
    def FORMAT(self) -> str: ...
    @property
    def SUFFIXES(self) -> tuple[str, ...]: ...

    def header(self, file: str) -> list[str]: ...
    def numeric(self, file: str, column: str) -> bool | None: ...
    def pieces(self, file: str, columns: Sequence[str]) -> Iterator[tuple[int, Any]]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSource:
    """Tables that have been read, checked and spooled."""

    format: str
    uri: str
    frequency: str
    fields: tuple[str, ...]
    calendar: Moments
    spans: Mapping[str, range]
    universes: Mapping[str, Universe]
    findings: Findings
    notes: tuple[str, ...]
    spool: Spool
    clocks: Clocks
    left_out: Moments = field(default_factory=no_moments)

    def settled(
        self, universes: Mapping[str, Universe], rules: DateRules | None, there: Moments | None = None
    ) -> TableSource:
        """The same rows on the calendar that ``rules`` leave."""
        done = settle(self, {n: u for n, u in universes.items() if n != ALL}, rules or DateRules(), there)
        return replace(
            self,
            calendar=done.calendar,
            spans=done.spans,
            left_out=done.left_out,
            findings=merge(self.findings, done.findings),
        )

    def block(self, instruments: Sequence[str]) -> BarBlock:
        """The complete bars of these instruments, given in sorted order."""
        return block_of(((name, *complete(self.calendar, *self._rows(name))) for name in instruments), self.fields)

    def _rows(self, instrument: str) -> tuple[Moments, dict[str, Floats]]:
        """The rows of an instrument whose moments are in the calendar, in the order of time."""
        datetime_R, fields = self.spool.take(instrument)
        datetime_R = self.clocks.stamps(datetime_R)
        inside_R = np.isin(datetime_R, self.left_out, invert=True) if len(self.left_out) else slice(None)
        return datetime_R[inside_R], {name: fields[name][inside_R] for name in self.fields}

    def moments(self, instrument: str) -> tuple[Moments, Mask]:
        """The moments of all rows of an instrument, ascending, and which of them have a price."""
        datetime_R = self.spool.moments(instrument)
        known = [name for name in PRICES if name in self.fields] or list(self.fields)
        prices = {name: self.spool.values(instrument, name) for name in known}
        order_R = np.argsort(datetime_R, kind="stable")
        return self.clocks.stamps(datetime_R[order_R]), has_bar(prices, len(order_R))[order_R]

    def repeats(self, instrument: str) -> Mask:
        """Which rows are bars that only repeat the one before, in the order of ``moments``."""
        _, fields = self.spool.take(instrument)
        return repeats(fields, has_bar(fields, len(fields[self.fields[0]]) if self.fields else 0))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What is read of each file: our name -> theirs."""

    columns: dict[str, dict[str, str]]
    fields: tuple[str, ...]
    notes: tuple[str, ...]
    dates: dict[str, str]  # of all rows of a file without a column for them: what its path says


def open_tables(
    uri: storage.Uri,
    kind: TableFormat,
    *,
    columns: Mapping[str, str] | None = None,
    frequency: str | None = None,
    progress: Progress = SILENT,
) -> TableSource:
    """Read and check every row. ``columns`` maps their names to ours; mapped to nothing, one is left out."""
    root = storage.open_location(uri).uri
    files = storage.list_files(root, kind.SUFFIXES)
    if not files:
        raise DataError(f"{root}: there is no {kind.FORMAT} file here; want {', '.join(kind.SUFFIXES)}")
    plan = _plan(root, files, kind, columns or {})
    unnamed = [file for file in files if "instrument" not in plan.columns[file]]
    keys = INSTRUMENT_LIKE | {theirs.lower() for theirs, ours in (columns or {}).items() if ours == "instrument"}
    ignored = {theirs.lower() for theirs, ours in (columns or {}).items() if not ours}
    named = instruments_of(root, unnamed, kind.SUFFIXES, keys=keys, ignored=ignored)
    spool = Spool(plan.fields)
    zones: ZoneClocks = Counter()
    with progress.track("read", len(files)) as advance:
        for file in files:
            path = PathSays(root, file, keys, ignored)
            given = _Given(instrument=named.get(file, ""), date=plan.dates.get(file, ""), path=path)
            for first_row, batch in kind.pieces(file, list(plan.columns[file].values())):
                _append(spool, file, first_row, batch, plan.columns[file], given, zones)
            path.check()
            advance(1, text=storage.name_of(file))
    if not spool.instruments:
        raise DataError(f"{root}: has no rows")
    refuse_pieces({file: name for file, name in named.items() if name in spool}, spool.extent)
    unread = found("left_out_file", unread_files(root, files))
    telling = (
        names_of_several(kind, files[0], plan.columns[files[0]].values()) if len(files) == len(unnamed) == 1 else []
    )
    try:
        return spooled(
            spool,
            plan.fields,
            zones,
            format=kind.FORMAT,
            uri=root,
            frequency=frequency,
            notes=plan.notes,
            findings={**unread, **found("column_of_several", telling)},
        )
    except DataError as error:
        if not telling:
            raise
        raise DataError(
            f"{error}; if the column {telling[0]} names the instruments, say so: --columns NAME=instrument"
        ) from None


def spooled(
    spool: Spool,
    fields: tuple[str, ...],
    zones: ZoneClocks,
    *,
    format: str,
    uri: str,
    frequency: str | None = None,
    notes: tuple[str, ...] = (),
    findings: Findings | None = None,
) -> TableSource:
    """The source of all rows that were spooled, once their clocks and zones are known."""
    clocks = read_clocks(spool, frequency)
    calendar_T = np.unique(clocks.stamps(spool.calendar))
    check_zones(zones, clocks.frequency, uri)
    names = sorted({zone for zone, _ in zones})
    zoned = tuple(f"datetimes were in {zone}: kept as the clocks there show them" for zone in names if len(names) == 1)
    return TableSource(
        format=format,
        uri=uri,
        frequency=clocks.frequency,
        fields=fields,
        calendar=calendar_T,
        spans={name: _span(spool, name, clocks, calendar_T) for name in spool.instruments},
        universes={},
        findings=merge(
            merge(
                {**(findings or {}), **clocks.findings, **differing(zones)},
                day_before(zones, clocks.frequency, calendar_T),
            ),
            {
                **found("names_differ_in_case", list(differing_in_case(spool.instruments))),
                **found("names_spelt_alike", list(spelt_alike(spool.instruments))),
            },
        ),
        notes=(*notes, *zoned),
        spool=spool,
        clocks=clocks,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Given:
    """What is known of the rows of a file by its path: instrument and date where no column says them."""

    instrument: str
    date: str
    path: PathSays


def _append(
    spool: Spool,
    file: str,
    first_row: int,
    batch: Any,
    columns: Mapping[str, str],
    given: _Given,
    zones: ZoneClocks,
) -> None:
    """Spool the rows of a batch."""
    if batch.num_rows == 0:
        return
    if "datetime" in columns:
        when = batch.column(columns["datetime"])
    else:
        when = pa.repeat(pa.scalar(given.date, pa.string()), batch.num_rows)
    if CLOCK in columns:
        days, when, name = when, batch.column(columns[CLOCK]), columns[CLOCK]
        datetime_R = joined(days, when, where=file, name=name, first_row=first_row)
    else:
        datetime_R = typed.datetimes(when, where=file, first_row=first_row, whole=False)
    zones.update(zone_clocks(when, datetime_R))
    if "instrument" in columns:
        instrument_R = typed.names(batch.column(columns["instrument"]), where=file, first_row=first_row)
    else:
        instrument_R = pa.array([given.instrument] * batch.num_rows, pa.string())
    given.path.hear(instrument_R, datetime_R)
    values = {
        ours: typed.floats(batch.column(theirs), theirs, where=file, first_row=first_row)
        for ours, theirs in columns.items()
        if ours not in KEYS
    }
    spool.append(instrument_R, datetime_R, values, file)


def _span(spool: Spool, instrument: str, clocks: Clocks, calendar_T: Moments) -> range:
    """The positions of an instrument's complete rows; two rows at one moment are an error."""
    datetime_R = np.sort(spool.moments(instrument))
    twice = np.flatnonzero(datetime_R[1:] == datetime_R[:-1])
    if len(twice):
        when = datetime_R[twice[0]]
        files = " and ".join(sorted(set(spool.origins(instrument, when))))
        raise DataError(f"{files}: {instrument} has two rows at {clock(when)}; want one")
    first, last = np.searchsorted(calendar_T, clocks.stamps(datetime_R[[0, -1]]))
    return range(int(first), int(last) + 1)


def _plan(root: str, files: Sequence[str], kind: TableFormat, mapping: Mapping[str, str]) -> _Plan:
    """Which columns to read of which file, so that all files give the same fields."""
    headers = {file: kind.header(file) for file in files}
    known = {key for file in files for key in partitions(root, file)}.union(*headers.values())
    unused = [theirs for theirs in mapping if theirs not in known]
    if unused:
        raise DataError(f"{files[0]}: has no column {unused[0]} (--columns); it has {', '.join(headers[files[0]])}")
    plan: dict[str, dict[str, str]] = {}
    dates: dict[str, str] = {}
    numeric: dict[str, bool | None] = dict.fromkeys((*KEYS, *REQUIRED), True)
    for file, names in headers.items():
        plan[file], doubtful = _renamed(kind, file, names, mapping)
        date = date_of(root, file, kind.SUFFIXES) if "datetime" not in {**plan[file], **doubtful} else None
        if date is not None:
            dates[file] = date
        _check(file, names, plan[file], doubtful, lone=len(files) == 1, dated=date is not None)
        for ours, theirs in plan[file].items():
            if numeric.get(ours) is None:  # not seen yet, or empty wherever it was
                numeric[ours] = kind.numeric(file, theirs)
    plan = {f: {ours: theirs for ours, theirs in columns.items() if numeric[ours]} for f, columns in plan.items()}
    found = {ours for columns in plan.values() for ours in columns}
    ignored = sorted(name for name, kept in numeric.items() if not kept)
    chosen = set(mapping)
    meant = {f"{theirs} as {ours}": None for c in plan.values() for ours, theirs in c.items() if ours != theirs}
    taken = [text for text in meant if text.rpartition(" as ")[0] not in chosen]
    notes = [f"columns taken: {', '.join(taken)}"] if taken else []
    notes += [f"columns without numbers left out: {', '.join(ignored)}"] if ignored else []
    notes += (
        [f"datetimes taken from the paths of {numbered(len(dates), 'file|files')}, such as {min(dates)}"]
        if dates
        else []
    )
    fields = field_order([name for name in found if name not in KEYS])
    return _Plan(columns=plan, fields=fields, notes=tuple(notes), dates=dates)


def _renamed(
    kind: TableFormat, file: str, names: Sequence[str], mapping: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    """Our name -> theirs, and our names that several of theirs could mean.

    What is mapped goes before what has the name already, and that before a customary name.
    """
    columns: dict[str, str] = {}
    for theirs in (name for name in names if mapping.get(name)):
        if mapping[theirs] in columns:
            raise DataError(f"{file}: --columns maps two columns to {mapping[theirs]}; want one")
        columns[mapping[theirs]] = theirs
    free = [name for name in names if name and name not in mapping and not ROW_NUMBERS.fullmatch(name)]
    for name in free:
        columns.setdefault(name, name)
    told = recognised(free, columns)
    meant, doubtful = dict(told.found), dict(told.doubtful)
    if told.clock is not None:
        if _holds_times(kind, file, told.clock):
            meant[CLOCK] = told.clock
        else:
            both = {meant.pop("datetime"), told.clock}
            doubtful["datetime"] = tuple(name for name in names if name in both)
    return {ours: theirs for ours, theirs in columns.items() if theirs not in meant.values()} | meant, doubtful


def _holds_times(kind: TableFormat, file: str, column: str) -> bool:
    """Whether a column holds times of day, by the first rows that say something."""
    batches = (batch.column(column) for _, batch in kind.pieces(file, [column]))
    return all(is_clock(values) for values in itertools.islice(batches, 1))


def _check(
    file: str,
    names: Sequence[str],
    columns: Mapping[str, str],
    doubtful: Mapping[str, tuple[str, ...]],
    *,
    lone: bool,
    dated: bool,
) -> None:
    """DataError that names at once what is missing, what two columns could be, and the option for all of it."""
    wanted = [*([] if dated else ["datetime"]), *REQUIRED]
    if lone and "instrument" not in columns and any(name.lower() in INSTRUMENT_LIKE for name in names):
        wanted.insert(0, "instrument")
    missing = [name for name in wanted if name not in columns and name not in doubtful]
    if missing or doubtful:
        nameless = next((name for name in names if ROW_NUMBERS.fullmatch(name) and name not in columns.values()), "")
        theirs = {name: nameless if nameless and name == "datetime" else "theirs" for name in missing}
        theirs |= {name: fitting[0] for name, fitting in doubtful.items()}
        faults = [f"{' and '.join(fitting)} could each be the {name}" for name, fitting in doubtful.items()]
        faults += [f"has no column {', '.join(missing)}"] if missing else []
        leave = f" (--columns {next(iter(doubtful.values()))[1]}= leaves one out)" if doubtful else ""
        raise DataError(
            f"{file}: {'; '.join(faults)}; it has {', '.join(names)}; "
            f"say which with --columns {','.join(f'{theirs[name]}={name}' for name in theirs)}{leave}"
        )
