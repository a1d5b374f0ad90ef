"""A Qlib provider folder as a source of bars.

    calendars/<freq>.txt                 one moment per line
    instruments/<universe>.txt           instrument, start, end, separated by tabs
    features/<instrument>/<field>.<freq>.bin   float32 little-endian; the first is the start in the calendar

The fields of an instrument may start and end apart; it gets a row from the first to the last of them, NaN
where a field has none. All is read in lower case, as Qlib does, whatever the case of the name: see `letter_case`.
Hidden files (a dot in front) are left alone.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from raybench.columns.typed import datetimes
from raybench.columns.types import Floats, Moments
from raybench.errors import DataError
from raybench.market.bars import BarBlock, block_of
from raybench.market.calendar import no_moments
from raybench.market.census import DateRules
from raybench.market.quality import Findings, found
from raybench.market.sources.letter_case import in_lower_case, one_spelling, respelled
from raybench.market.sources.source import REQUIRED, field_order
from raybench.market.sources.spans_file import read_spans
from raybench.market.universe import Universe
from raybench.reports.text import numbered
from raybench.storage import files

READERS = 8  # files are small and many; on S3 each costs a round trip
_RESERVED = "_qlib_"  # Qlib's prefix for folder names that Windows reserves, such as CON


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bin:
    """One file: ``rows`` are the positions in the calendar it has values for."""

    field: str
    path: str
    rows: range


@dataclass(frozen=True, slots=True, kw_only=True)
class QlibProvider:
    """A provider whose files have all been looked at, and whose values are read on demand."""

    uri: str
    frequency: str
    fields: tuple[str, ...]
    calendar: Moments
    spans: Mapping[str, range]
    universes: Mapping[str, Universe]
    findings: Findings
    bins: Mapping[str, tuple[_Bin, ...]]
    format: str = "qlib"
    notes: tuple[str, ...] = ()
    left_out: Moments = field(default_factory=no_moments)

    def settled(
        self, universes: Mapping[str, Universe], rules: DateRules | None, there: Moments | None = None
    ) -> QlibProvider:
        """The provider itself: its calendar says which dates there are."""
        if rules is not None:
            raise DataError(
                f"{self.uri}: a Qlib provider brings its calendar; --calendar and --min-date-coverage are for tables"
            )
        return self

    def block(self, instruments: Sequence[str]) -> BarBlock:
        """The complete bars of these instruments, given in sorted order."""
        with ThreadPoolExecutor(READERS) as pool:
            read = list(pool.map(self._values, instruments))
        moments = [self.calendar[span.start : span.stop] for span in (self.spans[i] for i in instruments)]
        return block_of(zip(instruments, moments, read, strict=True), self.fields)

    def _values(self, instrument: str) -> dict[str, Floats]:
        span = self.spans[instrument]
        values = {field: np.full(len(span), np.nan, dtype=np.float32) for field in self.fields}
        for each in self.bins[instrument]:
            data = np.frombuffer(files.read_bytes(files.join(self.uri, each.path)), dtype="<f4")
            if len(data) != len(each.rows) + 1:
                raise DataError(f"{files.join(self.uri, each.path)}: changed while it was read; import again")
            first = each.rows.start - span.start
            values[each.field][first : first + len(each.rows)] = data[1:]
        return values


def open_qlib(uri: files.Uri, frequency: str | None = None) -> QlibProvider:
    """Look at every file of a provider. ``frequency`` chooses one where there are several."""
    root = files.open_location(uri).uri
    sizes = files.sizes(root)
    paths = in_lower_case(root, sizes)
    frequency = _frequency(root, paths.actual, frequency)
    calendar_T = _calendar(files.join(root, paths.actual[f"calendars/{frequency}.txt"]))
    listed = {name: read_spans(files.join(root, path), name) for name, path in _universe_files(paths.actual).items()}
    spell = one_spelling(listed)
    universes = {name: respelled(universe, spell) for name, universe in listed.items()}
    bins = _bins(root, sizes, paths.actual, frequency, spell, calendar_T)
    spans = {
        name: range(min(b.rows.start for b in each), max(b.rows.stop for b in each))
        for name, each in sorted(bins.items())
    }
    fields = field_order(list({b.field for each in bins.values() for b in each}))
    missing = [name for name in REQUIRED if name not in fields]
    if missing:
        raise DataError(f"{root}: no instrument has a file {missing[0]}.{frequency}.bin; want {', '.join(REQUIRED)}")
    return QlibProvider(
        uri=root,
        frequency=frequency,
        fields=fields,
        calendar=calendar_T,
        spans=spans,
        universes=universes,
        findings={**_findings(bins, spans, fields), **found("left_out_other_case", list(paths.left_out))},
        bins=bins,
        notes=_notes(listed, universes),
    )


def _notes(listed: Mapping[str, Universe], universes: Mapping[str, Universe]) -> tuple[str, ...]:
    """What became of names that were listed in several spellings."""
    given, kept = ({name for u in each.values() for name in u.instrument_K} for each in (listed, universes))
    if len(given) == len(kept):
        return ()
    both = sorted(name for name in given if name.upper() in given and name != name.upper()) or sorted(given - kept)
    return (
        f"instruments/: {numbered(len(given) - len(kept), 'name|names is|are')} listed in several "
        f"spellings, such as {both[0]} and "
        f"{both[0].upper()}; each is one instrument, named in upper case",
    )


def _findings(bins: Mapping[str, tuple[_Bin, ...]], spans: Mapping[str, range], fields: Sequence[str]) -> Findings:
    """Fields that an instrument lacks, and files that begin or end apart from its others: shifted, or cut short."""
    has = {name: {b.field: b.rows for b in each} for name, each in sorted(bins.items())}
    lacking = [f"{name} {field}" for name, rows in has.items() for field in fields if field not in rows]
    early = [
        f"{name} {field}"
        for name, rows in has.items()
        for field in fields
        if field in rows and rows[field].stop < spans[name].stop
    ]
    most = {name: Counter(r.start for r in rows.values()).most_common(1)[0][0] for name, rows in has.items()}
    apart = [
        f"{name} {field}"
        for name, rows in has.items()
        for field in fields
        if field in rows and rows[field].start != most[name]
    ]
    findings = {"field_ends_early": early, "field_starts_apart": apart, "missing_field": lacking}
    return {name: finding for each, places in findings.items() for name, finding in found(each, places).items()}


def _frequency(root: str, paths: Iterable[str], wanted: str | None) -> str:
    """The frequency to import: the only one there is, or the one asked for."""
    names = [path.removeprefix("calendars/").removesuffix(".txt") for path in paths if _is_calendar(path)]
    wanted = wanted if wanted is None else wanted.lower()
    if not names:
        raise DataError(f"{root}: has no calendars/<frequency>.txt; want a Qlib provider folder")
    if wanted is not None and wanted not in names:
        raise DataError(f"{root}: has no frequency {wanted} (--frequency); it has {', '.join(names)}")
    if wanted is None and len(names) > 1:
        raise DataError(f"{root}: has the frequencies {', '.join(names)}; choose one with --frequency")
    return wanted or names[0]


def _is_calendar(path: str) -> bool:
    folder, _, name = path.rpartition("/")
    return folder == "calendars" and name.endswith(".txt") and not name.endswith("_future.txt")


def _calendar(file: str) -> Moments:
    lines = [line.strip() for line in files.read_text(file).splitlines()]
    calendar_T = datetimes([line for line in lines if line], where=file, row="line")
    if len(calendar_T) == 0:
        raise DataError(f"{file}: the calendar is empty")
    wrong = np.flatnonzero(calendar_T[1:] <= calendar_T[:-1])
    if len(wrong):
        raise DataError(f"{file}: {calendar_T[wrong[0] + 1]} comes after {calendar_T[wrong[0]]}; want it sorted")
    return calendar_T


def _universe_files(paths: Mapping[str, str]) -> dict[str, str]:
    """The file of each universe by its name."""
    names = [path for path in paths if path.startswith("instruments/") and path.endswith(".txt")]
    return {n.removeprefix("instruments/").removesuffix(".txt"): paths[n] for n in names if n.count("/") == 1}


def _bins(
    root: str,
    sizes: Mapping[str, int],
    actual: Mapping[str, str],
    frequency: str,
    spell: Callable[[str], str],
    calendar_T: Moments,
) -> dict[str, tuple[_Bin, ...]]:
    """The checked files of each instrument that has any."""
    suffix = f".{frequency}.bin"
    paths = [path for path in actual if path.startswith("features/") and path.endswith(suffix)]
    paths = [path for path in paths if path.count("/") == 2]
    if not paths:
        raise DataError(f"{root}: has no features/<instrument>/<field>{suffix}")

    def look(path: str) -> _Bin:
        field = path.rpartition("/")[2].removesuffix(suffix)
        rows = _rows(files.join(root, actual[path]), sizes[actual[path]], len(calendar_T))
        return _Bin(field=field, path=actual[path], rows=rows)

    bins = defaultdict(list)
    folders: dict[str, str] = {}
    with ThreadPoolExecutor(READERS) as pool:
        for path, each in zip(paths, pool.map(look, paths), strict=True):
            folder = path.split("/")[1]
            name = spell(folder.removeprefix(_RESERVED))
            if folders.setdefault(name, folder) != folder:
                both = " and ".join(files.join(root, "features", one) for one in sorted((folder, folders[name])))
                raise DataError(f"{both}: are both the instrument {name}; want one")
            bins[name].append(each)
    return {name: tuple(each) for name, each in bins.items()}


def _rows(file: str, size: int, dates: int) -> range:
    """The positions in the calendar that a file has values for."""
    if size % 4 or size < 8:
        raise DataError(f"{file}: is cut short: {size} bytes; want a multiple of 4 that holds a start and a value")
    with files.open_input(file) as stream:
        start = float(np.frombuffer(stream.read(4), dtype="<f4")[0])
    count = size // 4 - 1
    if not (start >= 0 and start.is_integer()):
        raise DataError(f"{file}: starts at {start}; want a position in the calendar")
    if start + count > dates:
        raise DataError(
            f"{file}: reaches to position {int(start) + count}, the calendar has {dates} entries; "
            "the calendar is too short for it"
        )
    return range(int(start), int(start) + count)
