"""The feature table: ``instrument, datetime, <features float32>[, label]`` in Parquet, ours or anyone's.

    FEATURES/part-NAME-00000-<hash>.parquet   some instruments over some dates, sorted by instrument and datetime
    FEATURES.manifest.json               which files make up the table; published last

R rows, F features. A table that raybench writes has its manifest beside the folder, so that the folder holds
nothing but Parquet; only the files it names are read, and a table whose manifest says ``building`` is
refused. Without a manifest a file or a folder of files is taken as somebody's own table: the numeric columns are
features, but for labels, row numbers, dates and identifiers (``table_columns``); its rows may come in any order.
NaN and null are both NaN.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import asdict, dataclass, replace
from itertools import chain
from typing import Annotated, Any, Literal, NotRequired

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from raybench.columns import moments
from raybench.columns.moments import Moment
from raybench.columns.numbers import is_number
from raybench.config.data.spec import LABEL_COLUMN
from raybench.errors import DataError
from raybench.feature_sets.table_columns import KEYS, SetAside, sort_out, told
from raybench.market.bars import cut
from raybench.market.census import weekend
from raybench.market.quality import clock
from raybench.market.sources.clocks import ZoneClocks, zone_clocks
from raybench.market.sources.row_dates import AS_WRITTEN, RowDates, look_at_dates
from raybench.reports.text import numbered
from raybench.storage import files as storage
from raybench.storage import parquet

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TablePart:
    """One file: its name, its instruments and how many rows each has, its range of time, its hash."""

    name: str
    instruments: tuple[str, ...]
    counts: tuple[int, ...]
    first: str
    last: str
    sha256: str

    @property
    def rows(self) -> int:
        return sum(self.counts)

    def may_hold(self, instruments: Set[str] | None, start: np.datetime64 | None, end: np.datetime64 | None) -> bool:
        """Whether it has rows of these instruments, and from ``start`` to ``end``; None: any."""
        if instruments is not None and instruments.isdisjoint(self.instruments):
            return False
        late = start is not None and np.datetime64(self.last) < start
        return not late and not (end is not None and np.datetime64(self.first) > end)

    def to_json(self) -> str:
        """Write it as one line of text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> TablePart:
        """Read what ``to_json`` wrote."""
        return cls.of(json.loads(text))

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> TablePart:
        """Take it from the values of its fields as JSON has them."""
        lists = {name: tuple(values[name]) for name in ("instruments", "counts")}
        return cls(**{**values, **lists})


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureTable:
    """An opened feature table. It holds no features, only where they are, so it travels well.

    Parameters
    ----------
    columns : the features, in the table's order
    label : name of the label column, if it has LABEL0
    files : addresses of what is read
    fingerprint : a hash of the content (ours), or of the files' footers and sizes (anyone's)
    parts : what the manifest says of each file; empty for a table without one
    readable : every column of numbers in the table's order: features, the label, what is none unless it is asked for
    others : columns that are no features, and why
    row_dates : what the dates of its rows are to become, see ``settled``
    """

    uri: str
    columns: tuple[str, ...]
    label: str | None
    files: tuple[str, ...]
    fingerprint: str
    readable: tuple[str, ...]
    parts: tuple[TablePart, ...] = ()
    others: tuple[SetAside, ...] = ()
    row_dates: RowDates = AS_WRITTEN

    def settled(self) -> FeatureTable:
        """The table with dates by the rules that hold for bars, which its rows follow from here on.

        Ours is as it is, since bars have been through them. Of anyone's the keys of all rows are read, and as many
        columns as it takes to see which dates have a number.
        """
        if self.parts:
            return self
        names, stamps = [], []
        zones: ZoneClocks = Counter()
        for file in self.files:
            keys = parquet.read_table(file, list(KEYS))
            names.append(moments.flat(_key(keys, "instrument", self.uri)))
            stamps.append(_key(keys, "datetime", self.uri).to_numpy(zero_copy_only=False).astype("datetime64[us]"))
            zones.update(zone_clocks(keys["datetime"], stamps[-1]))
        looked = look_at_dates(pa.concat_arrays(names), np.concatenate(stamps), zones, self.uri, leave_out=True)
        return replace(self, row_dates=looked.without(self._empty_days(stamps), self.uri))

    def _empty_days(self, stamps: Sequence[NDArray[np.datetime64]]) -> list[str]:
        """Days on which no row has a number in any feature, such as weekends of empty rows, as ISO text.

        ``stamps``: of the rows of each file. The days before the first with a number are not among them: there
        features look back on what the table does not have. Nor are those after the last, whose numbers may be to come,
        but for weekends where nobody has numbers on one.
        """
        days, codes = np.unique(np.concatenate(stamps).astype("datetime64[D]"), return_inverse=True)
        code_R = np.split(codes, np.cumsum([len(each) for each in stamps])[:-1])
        empty_D = np.ones(len(days), bool)
        for name in self.columns:
            for file, code_F in zip(self.files, code_R, strict=True):
                x_F = _float_column(parquet.read_table(file, [name])[name], name, self.uri)
                empty_D[code_F[np.isfinite(x_F.to_numpy())]] = False
            if not _left_out(empty_D, days).any():
                return []
        return [str(day) for day in days[_left_out(empty_D, days)]]

    def read(
        self,
        columns: Sequence[str] | None = None,
        instruments: Sequence[str] | None = None,
        start: Moment | None = None,
        end: Moment | None = None,
    ) -> Any:
        """Read an Arrow table ``instrument, datetime, <columns float32>``, sorted by the first two.

        ``columns`` default to all features and the label; ``start`` and ``end`` are inclusive. Of our tables
        the files that hold none of the ``instruments``, or no such dates, are not opened.
        """
        names = [*self.columns, *([self.label] if self.label else [])] if columns is None else list(columns)
        if not self.parts:
            table = parquet.read_table(self.files, [*KEYS, *names], instruments, start, end)
            return _canonical(table, self.uri, self.row_dates, in_order=False)
        wanted = None if instruments is None else set(instruments)
        first, last = moments.moment(start), moments.end_moment(end)
        pairs = zip(self.files, self.parts, strict=True)
        here = [(file, part) for file, part in pairs if part.may_hold(wanted, first, last)]
        files = [file for file, _ in here] or self.files[:1]  # of none of them: an empty table with the right columns
        table = parquet.read_table(files, [*KEYS, *names], instruments, start, end)
        once = len(set(chain.from_iterable(part.instruments for _, part in here)))
        whole = once == sum(len(part.instruments) for _, part in here)  # nobody is in two of them
        return _canonical(table, self.uri, self.row_dates, in_order=whole)

    def instruments(self) -> tuple[str, ...]:
        """Every instrument of the table, sorted."""
        return tuple(self._counts())

    def dates(self) -> NDArray[np.datetime64]:
        """Every point in time of the table, datetime64[us], sorted."""
        each = [pc.unique(pa.array(stamps)).to_numpy(zero_copy_only=False) for stamps in self._stamps()]
        return np.unique(np.concatenate(each))

    def rows_by_date(self) -> tuple[NDArray[np.datetime64], NDArray[np.int64]]:
        """Every point in time of the table, datetime64[us], sorted, and how many rows it has."""
        return np.unique(np.concatenate(list(self._stamps())), return_counts=True)

    def groups(self, max_rows: int = 200_000) -> list[tuple[str, ...]]:
        """Whole instruments in groups of at most ``max_rows`` rows (or one); none of two groups that we made."""
        if not self.parts:
            counts = self._counts()
            return cut(list(counts), list(counts.values()), max_rows)
        counts, begins = self._counts(), {part.instruments[0] for part in self.parts}
        runs: list[list[str]] = [[]]
        for name in counts:
            if name in begins:
                runs.append([])
            runs[-1].append(name)
        return [group for run in runs for group in cut(run, [counts[name] for name in run], max_rows)]

    def _stamps(self) -> Iterator[NDArray[np.datetime64]]:
        """The points in time of each file, one for each row, datetime64[us]."""
        for file in self.files:
            found = _key(parquet.read_table(file, ["datetime"]), "datetime", self.uri)
            stamps = found.to_numpy(zero_copy_only=False).astype("datetime64[us]")
            kept = self.row_dates.kept(stamps)
            yield self.row_dates.stamps(stamps if kept is None else stamps[kept])

    def _counts(self) -> dict[str, int]:
        if self.parts:
            total: Counter[str] = Counter()
            for part in self.parts:
                total.update(dict(zip(part.instruments, part.counts, strict=True)))
            return dict(sorted(total.items()))
        names = _key(parquet.read_table(self.files, ["instrument"]), "instrument", self.uri)
        return dict(sorted((row["values"], row["counts"]) for row in names.value_counts().to_pylist()))


def open_features(uri: storage.Uri) -> FeatureTable:
    """Open the feature table at ``uri``: a folder, or one Parquet file."""
    place = storage.open_location(uri).uri
    manifest = read_manifest(place)
    if manifest is None:
        return _open_foreign(place)
    if manifest["state"] != "complete":
        raise DataError(
            f"{place}: the feature table is not finished (its manifest says {manifest['state']}); "
            "run the same `raybench features` command again, it goes on where it stopped"
        )
    parts = tuple(TablePart.of(part) for part in manifest["files"])
    if uneven := next((part.name for part in parts if len(part.instruments) != len(part.counts)), None):
        raise DataError(
            f"{manifest_uri(place)}: is damaged (instruments and counts of {uneven}); run `raybench features` again"
        )
    return FeatureTable(
        uri=place,
        columns=tuple(manifest["columns"]),
        label=manifest["label"]["column"],
        readable=(*manifest["columns"], manifest["label"]["column"]),
        files=tuple(storage.join(place, part.name) for part in parts),
        fingerprint=manifest["fingerprint"],
        parts=parts,
    )


def manifest_uri(uri: storage.Uri) -> str:
    """Where the manifest of a table lies: beside its folder."""
    return storage.sibling(uri, ".manifest.json")


def read_manifest(uri: storage.Uri) -> dict[str, Any] | None:
    """Read the manifest of a table; None where there is none."""
    file = manifest_uri(uri)
    if not storage.exists(file):
        return None
    try:
        manifest = json.loads(storage.read_bytes(file))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file}: is not JSON ({error}); run `raybench features` again") from None
    if not isinstance(manifest, dict) or manifest.get("schema_version") != SCHEMA_VERSION:
        raise DataError(
            f"{file}: is not a feature manifest of version {SCHEMA_VERSION}; "
            "make the table again with `raybench features`"
        )
    written = manifest.pop("sha256", None)  # older ones have none
    if written is not None and written != _sha256(manifest):
        raise DataError(f"{file}: is damaged (it is not as it was written); run `raybench features` again")
    try:
        _written().validate_python(manifest)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise DataError(f"{file}: is damaged ({place}: {first['msg']}); run `raybench features` again") from None
    return manifest


class _Label(TypedDict):
    column: str
    expression: NotRequired[str]


class _Building(TypedDict):
    """What a manifest says of a table that is not there yet."""

    state: Literal["building"]
    request: dict[str, Any]


class _Complete(TypedDict):
    state: Literal["complete"]
    request: dict[str, Any]
    columns: list[str]
    label: _Label
    fingerprint: str
    files: list[TablePart]


@functools.cache
def _written() -> TypeAdapter[_Building | _Complete]:
    return TypeAdapter(Annotated[_Building | _Complete, Field(discriminator="state")])


def publish_manifest(uri: storage.Uri, manifest: Mapping[str, Any]) -> None:
    """Put the manifest of a table in place."""
    content = {"schema_version": SCHEMA_VERSION, **manifest}
    text = json.dumps({**content, "sha256": _sha256(content)}, indent=1)
    storage.publish_bytes(manifest_uri(uri), text.encode(), staging=storage.sibling(uri, ".staging"))


def _sha256(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _open_foreign(uri: str) -> FeatureTable:
    files = parquet.parquet_files(uri)
    schema = parquet.read_schema(files[0])
    missing = [key for key in KEYS if key not in schema.names]
    if missing:
        has = ", ".join(schema.names[:8])
        raise DataError(f"{uri}: a feature table needs the column {missing[0]}; it has {has}")
    columns, others = sort_out(schema, LABEL_COLUMN)
    if not columns:
        keys = f"{', '.join(KEYS)} and {LABEL_COLUMN}"
        found = f"only {told(others)}" if others else "none"
        raise DataError(f"{uri}: a feature table needs numeric columns beside {keys}; it has {found}")
    labelled = LABEL_COLUMN in schema.names and is_number(schema.field(LABEL_COLUMN).type)
    return FeatureTable(
        uri=uri,
        columns=columns,
        label=LABEL_COLUMN if labelled else None,
        readable=tuple(field.name for field in schema if field.name not in KEYS and is_number(field.type)),
        others=others,
        files=tuple(files),
        fingerprint=_footers(files),
    )


def _footers(files: Sequence[str]) -> str:
    """Hash sizes and footers, which hold where every column chunk lies and its smallest and largest value."""
    digest = hashlib.sha256()
    for file in files:
        with storage.open_input(file) as stream:
            size = stream.size()
            stream.seek(size - 8)
            length = int.from_bytes(stream.read(4), "little")
            stream.seek(max(size - 8 - length, 0))
            digest.update(f"{storage.name_of(file)}\0{size}\0".encode() + stream.read(length))
    return digest.hexdigest()[:32]


def _left_out(empty_D: NDArray[np.bool_], day_D: NDArray[np.datetime64]) -> NDArray[np.bool_]:
    """Which days without a number are no dates -> [D], see ``FeatureTable._empty_days``."""
    begun_D, to_come_D = np.cumsum(~empty_D) > 0, np.cumsum(~empty_D[::-1])[::-1] == 0
    closed_D = weekend(day_D) & empty_D[weekend(day_D)].all()
    left_D: NDArray[np.bool_] = empty_D & begun_D & (~to_come_D | closed_D)
    return left_D


def _key(table: Any, key: str, uri: str) -> Any:
    """The instrument of each row as text, or its datetime as timestamp[us] without a zone; DataError without one."""
    read = moments.texts if key == "instrument" else moments.stamps
    values = read(table[key], where=uri, name=key)
    if values.null_count:
        raise DataError(f"{uri}: {numbered(values.null_count, 'row|rows has|have')} no {key}; want one in every row")
    return values


def _canonical(table: Any, uri: str, dates: RowDates, *, in_order: bool) -> Any:
    """Bring columns to our types, dates to what they are to become and rows to our order; refuse doubles and gaps."""
    columns = [_key(table, key, uri) for key in KEYS]
    for name in table.column_names[2:]:
        columns.append(_float_column(table[name], name, uri))
    table = _dated(pa.table(columns, names=table.column_names), dates)
    if in_order:
        return table
    table = table.sort_by([(key, "ascending") for key in KEYS])
    name, when = (table[key].combine_chunks() for key in KEYS)
    double = pc.and_(pc.equal(name[1:], name[:-1]), pc.equal(when[1:], when[:-1])) if len(name) > 1 else None
    if double is not None and pc.any(double).as_py():
        row = pc.index(double, True).as_py()
        raise DataError(f"{uri}: two rows for {name[row]} at {clock(np.datetime64(when[row].as_py()))}; want one")
    return table


def _dated(table: Any, dates: RowDates) -> Any:
    """The rows that stay, with the clock that they get."""
    if dates.clock is None and not dates.left_out:
        return table
    stamps = table["datetime"].to_numpy(zero_copy_only=False).astype("datetime64[us]")
    kept = dates.kept(stamps)
    table = table.set_column(1, "datetime", pa.array(dates.stamps(stamps)))
    return table if kept is None else table.filter(pa.array(kept))


def _float_column(column: Any, name: str, uri: str) -> Any:
    if column.type == pa.float32() and not column.null_count:
        return column
    if not (is_number(column.type) or pa.types.is_boolean(column.type)):
        raise DataError(f"{uri}: column {name} is of type {column.type}; want numbers")
    return pc.fill_null(pc.cast(column, pa.float32(), safe=False), float("nan"))
