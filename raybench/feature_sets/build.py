"""Features from bars: a pure function on frames, and the parts of a feature table.

Shapes: R rows of a group of instruments, F columns.
NaN rule: that of the feature sets. Features and label are computed on an instrument's whole history; a
universe or a range of dates picks rows afterwards, so that the first row of a range looks back like any.

A table is built part by part. ``build_part`` is a plain function of a job and a group, which Ray may place
anywhere; a part is named after the rows that it is made of, so that an interrupted build takes up what it left, and
bars that have grown by a date remake the parts of the newest dates alone. A part that is not what was written is made
again: it has the hash that the manifest names, or that it carries itself (``storage.seal``).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from raybench.columns.moments import Moment, end_moment, moment
from raybench.config.data.label import DEFAULT_LABEL, parse_label
from raybench.config.data.spec import LABEL_COLUMN
from raybench.errors import DataError
from raybench.fanout import on_threads
from raybench.feature_sets import alpha158, alpha360, labels
from raybench.feature_sets.pieces import LOOKBACK, SLICE, FeaturePiece, rows_key, stable_groups
from raybench.feature_sets.table import FeatureTable, TablePart, open_features, publish_manifest, read_manifest
from raybench.market.bars import BarBlock, Bars
from raybench.market.importing.frames import frame_bars
from raybench.market.universe import Universe
from raybench.progress import SILENT, Progress, warn
from raybench.reports.text import numbered
from raybench.storage import files, parquet, seal
from raybench.storage.encoding import encode_table
from raybench.storage.places import PART, Kind, refuse_others

SETS = ("alpha158", "alpha360")
PART_BYTES = 32 << 20  # of features in memory: a few of them fit beside each other in every task
_VERSION = 2  # raised when the same bars give other features, so that parts of an older build are not taken up

PartFanout = Callable[[Callable[[FeaturePiece], TablePart | None], list[FeaturePiece]], Iterable[TablePart | None]]


def compute_features(
    bars: pd.DataFrame, set: str | Sequence[str] = "alpha158", columns: str | Sequence[str] | None = None
) -> pd.DataFrame:
    """Compute ``instrument, datetime, <features>, LABEL0`` of a table of bars.

    ``bars`` has the columns instrument, datetime, open, high, low, close, volume and perhaps vwap; rows
    missing on dates that other instruments have count as suspended. ``set`` is alpha158, alpha360 or both
    with a comma between them, or a list; ``columns`` keeps one or some of the features, in the set's order. Dates and
    rows count as an import counts them; what it would warn of is warned of.
    """
    sets = parse_sets(set)
    names = column_names(sets, columns)
    block, told = frame_bars(bars)
    warn(told)
    return features_of(block, sets, names)


def features_of(block: BarBlock, sets: Sequence[str], names: Sequence[str]) -> pd.DataFrame:
    """As ``compute_features``, of bars whose calendar is settled."""
    frame = pd.DataFrame(_compute_columns(block, sets, names).T, columns=list(names), copy=False)
    frame.insert(0, "instrument", np.array(block.instruments, dtype=object)[block.code_R])
    frame.insert(1, "datetime", block.datetime_R)
    return frame.assign(**{LABEL_COLUMN: labels.compute(block, parse_label(DEFAULT_LABEL))})


def parse_sets(text: str | Sequence[str]) -> tuple[str, ...]:
    """Read ``alpha158``, ``alpha360`` or both with a comma between them, or a list of names."""
    names = text.split(",") if isinstance(text, str) else map(str, text)
    given = [name.strip().lower() for name in names if name.strip()]
    unknown = [name for name in given if name not in SETS]
    if unknown or not given:
        known = f"{' or '.join(SETS)}, or both as {','.join(SETS)}"
        raise DataError(f"feature set {text!r} is not known; want --set {known}")
    return tuple(name for name in SETS if name in given)


def column_names(sets: Sequence[str], columns: str | Sequence[str] | None = None) -> tuple[str, ...]:
    """Name the features of the sets, or those of them that are in ``columns``, in the sets' order.

    OPEN0, HIGH0, LOW0 and VWAP0 are the same in both sets and come once, with Alpha158.
    """
    of_set = {"alpha158": alpha158.NAMES, "alpha360": alpha360.NAMES}
    names = tuple(dict.fromkeys(name for one in sets for name in of_set[one]))
    if columns is None:
        return names
    columns = (columns,) if isinstance(columns, str) else columns
    unknown = [name for name in columns if name not in names]
    if unknown:
        known = f"columns run from {names[0]} to {names[-1]}"
        raise DataError(f"{' and '.join(sets)} has no column {unknown[0]!r}; {known}")
    return tuple(name for name in names if name in columns)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureJob:
    """What a feature table is to hold: which bars, which columns, which rows, and where it goes."""

    bars: Bars
    sets: tuple[str, ...]
    columns: tuple[str, ...]
    to: str
    universe: Universe | None
    start: np.datetime64 | None
    end: np.datetime64 | None

    @property
    def request(self) -> dict[str, Any]:
        """What decides the content of the table."""
        return {
            "bars": self.bars.fingerprint,
            "set": list(self.sets),
            "universe": self.universe.name if self.universe else None,
            "start": str(self.start) if self.start is not None else None,
            "end": str(self.end) if self.end is not None else None,
            "version": _VERSION,
        }

    def pieces(self) -> list[FeaturePiece]:
        """What each part is made of: some instruments over some entries of the calendar."""
        rows = max(PART_BYTES // (4 * len(self.columns)), 1)
        names = self.bars.instruments if self.universe is None else self.universe.instruments
        calendar = self.bars.calendar
        inside = np.flatnonzero(_between(calendar, self.start, self.end))
        slices = range(int(inside[0]) // SLICE, int(inside[-1]) // SLICE + 1)
        return [
            FeaturePiece(
                instruments=group, slice=k, first=calendar[k * SLICE], last=calendar[k * SLICE : (k + 1) * SLICE][-1]
            )
            for group in stable_groups(names, rows // SLICE)
            for k in slices
        ]


def plan_features(
    bars: Bars,
    sets: Sequence[str],
    to: files.Uri,
    *,
    universe: str | None = None,
    start: Moment | None = None,
    end: Moment | None = None,
) -> FeatureJob:
    """Check what can be checked before any work starts; DataError too where ``to`` holds anything else."""
    refuse_others(to, Kind.FEATURES, option="--to")
    missing = [field for field in alpha158.FIELDS if field not in bars.fields]
    if missing:
        has = ", ".join(bars.fields)
        raise DataError(f"{bars.uri}: the features need the field {missing[0]}; the bars have {has}")
    first, last = moment(start, "--start"), end_moment(end, "--end")
    calendar = bars.calendar
    if not _between(calendar, first, last).any():
        days = f"{calendar[0].astype('M8[D]')} to {calendar[-1].astype('M8[D]')}"
        wanted = f"{start or 'the first'} to {end or 'the last'}"
        raise DataError(f"{bars.uri}: no bars from {wanted}; they run from {days}: change --start or --end")
    return FeatureJob(
        bars=bars,
        sets=tuple(sets),
        columns=column_names(sets),
        to=files.open_location(to).uri,
        universe=bars.universe(universe) if universe else None,
        start=first,
        end=last,
    )


def build_features(job: FeatureJob, *, run: PartFanout = map, progress: Progress = SILENT) -> FeatureTable:
    """Build the table of ``job``, each part by ``run`` (a map, here or on a cluster), and open it.

    A finished table of the same content is left as it is, but for parts that are damaged. The manifest comes last:
    until then a reader finds the table that was there before, or one that says that it is being built.
    """
    if is_built(job) and not _damaged(job, progress):
        progress.note(f"{job.to}: already holds these features")
        return open_features(job.to)
    old = _former(job.to)
    if old is None or old["state"] != "complete":
        publish_manifest(job.to, {"state": "building", "request": job.request})
    pieces = job.pieces()
    known = {} if old is None else {part["name"]: part["sha256"] for part in old.get("files", ())}
    parts: list[TablePart] = []
    with progress.track("features", len(pieces)) as advance:
        for part in run(partial(build_part, job, known=known), pieces):
            parts += [part] if part else []
            advance(1, numbered(sum(p.rows for p in parts), "row|rows"))
    if not parts:
        asked = f"universe {job.request['universe']} and the range of dates"
        raise DataError(f"{job.bars.uri}: no row is in {asked}; change --instruments, --start or --end")
    parts.sort(key=lambda part: part.name)
    publish_manifest(job.to, _manifest(job, parts))
    for name in _ours(job.to, old) - {part.name for part in parts}:
        files.remove(files.join(job.to, name))  # of the table that was here before, or of an interrupted build
    return open_features(job.to)


def is_built(job: FeatureJob) -> bool:
    """Whether the table is there already, finished and with the same content, as far as names tell."""
    manifest = _former(job.to)
    if manifest is None or manifest["state"] != "complete" or manifest["request"] != job.request:
        return False
    return {part["name"] for part in manifest["files"]} == _ours(job.to, manifest)


def _former(to: str) -> dict[str, Any] | None:
    """The manifest of the table that is there; None where there is none, or it is damaged and to be made again."""
    try:
        return read_manifest(to)
    except DataError as error:
        if any(map(PART.fullmatch, files.children(to))):
            return None
        raise DataError(f"{error}; no part of a table lies in {to}: remove that file, or choose another --to") from None


def _ours(to: str, manifest: Mapping[str, Any] | None) -> set[str]:
    """Names right in the folder that the manifest has, or that parts of a table have: nothing else is touched."""
    named = set() if manifest is None else {part["name"] for part in manifest.get("files", ())}
    return {name for name in files.children(to) if name in named or PART.fullmatch(name)}


def _damaged(job: FeatureJob, progress: Progress) -> bool:
    """Whether a part of a finished table is not what was written; it says which."""
    parts = (read_manifest(job.to) or {})["files"]
    found = False
    with progress.track("looking at what is there", len(parts)) as advance:
        for part, whole in zip(parts, on_threads(partial(_is_as_named, job.to), parts), strict=True):
            if not whole:
                progress.note(f"{files.join(job.to, part['name'])}: is damaged, and made again")
            found |= not whole
            advance(1)
    return found


def _is_as_named(to: str, part: Mapping[str, Any]) -> bool:
    try:
        data = files.read_bytes(files.join(to, part["name"]))
    except DataError:  # it is gone since, or its bytes do not come: making it tells
        return False
    return hashlib.sha256(data).hexdigest() == str(part["sha256"])


def build_part(job: FeatureJob, piece: FeaturePiece, *, known: Mapping[str, str] | None = None) -> TablePart | None:
    """Compute and publish a part, unless one of the same rows is there; None if universe and dates leave no row.

    ``known``: the hashes of parts by name. One that is there is taken up if it has its own, or that which it carries.
    """
    wanted = (*alpha158.FIELDS, *(["vwap"] if "vwap" in job.bars.fields else []))
    block = piece.block(job.bars, wanted)
    keep_R = _kept(job, block, piece)
    if not keep_R.any():
        return None
    request = {**job.request, "bars": None, "universe": None, "start": None, "end": None}
    uri = files.join(job.to, f"{piece.stem}-{rows_key(request, block, keep_R)}.parquet")
    data = files.read_if_there(uri)
    if data is not None and _is_whole(data, (known or {}).get(files.name_of(uri))):
        table, _ = parquet.table_of(data, uri, ["instrument", "datetime"])
    else:
        table = part_table(job, block, piece)
        data = encode_table(
            table,
            row_groups=_row_groups(table),
            use_dictionary=["instrument"],
            write_statistics=["instrument", "datetime"],
            compression_level=1,
        )
        files.publish_bytes(uri, data, staging=files.sibling(job.to, ".staging"))
    return _describe(uri, table, data)


def _is_whole(data: bytes, sha256: str | None) -> bool:
    return hashlib.sha256(data).hexdigest() == sha256 or seal.holds(data)


def part_table(job: FeatureJob, block: BarBlock, piece: FeaturePiece) -> Any:
    """Compute the Arrow table of a block: ``instrument, datetime, <features>, LABEL0``, wanted rows only."""
    label = parse_label(DEFAULT_LABEL)
    block, keep_R = _within_reach(block, _kept(job, block, piece), LOOKBACK, label.horizon)
    rows = np.flatnonzero(keep_R)
    features_FR = _compute_columns(block, job.sets, job.columns)[:, rows]
    label_R = labels.compute(block, label)[rows]
    instrument = pa.DictionaryArray.from_arrays(block.code_R[rows], pa.array(block.instruments, pa.string()))
    return pa.table(
        [
            instrument.cast(pa.string()),
            pa.array(block.datetime_R[rows], pa.timestamp("us")),
            *(pa.array(column) for column in features_FR),
            pa.array(label_R),
        ],
        names=["instrument", "datetime", *job.columns, LABEL_COLUMN],
    )


def _kept(job: FeatureJob, block: BarBlock, piece: FeaturePiece) -> NDArray[np.bool_]:
    """Which rows of a block become rows of the part."""
    keep_R = _between(block.datetime_R, job.start, job.end) & _between(block.datetime_R, piece.first, piece.last)
    if job.universe is not None:
        keep_R &= job.universe.mask(block.instruments, block.code_R, block.datetime_R)
    return keep_R


def _within_reach(
    block: BarBlock, keep_R: NDArray[np.bool_], before: int, after: int
) -> tuple[BarBlock, NDArray[np.bool_]]:
    """Leave out what no kept row looks at: all but ``before`` rows ahead of the first and ``after`` the last."""
    spans, names = [], []
    for i, name in enumerate(block.instruments):
        start, stop = int(block.start_N1[i]), int(block.start_N1[i + 1])
        kept = np.flatnonzero(keep_R[start:stop])
        if len(kept):
            names.append(name)
            spans.append(slice(max(start + int(kept[0]) - before, start), min(start + int(kept[-1]) + 1 + after, stop)))
    lengths = [span.stop - span.start for span in spans]
    rows = np.concatenate([np.empty(0, np.int64), *(np.arange(span.start, span.stop) for span in spans)])
    near = BarBlock(
        instruments=tuple(names),
        start_N1=np.cumsum([0, *lengths]),
        datetime_R=block.datetime_R[rows],
        fields={field: value_R[rows] for field, value_R in block.fields.items()},
    )
    return near, keep_R[rows]


def _compute_columns(block: BarBlock, sets: Sequence[str], names: Sequence[str]) -> NDArray[np.float32]:
    """Compute columns [F, R] of one set or both; ``names`` as ``column_names`` orders them."""
    narrow = [name for name in names if "alpha158" in sets and name in _NARROW]
    wide = names[len(narrow) :]
    parts = [alpha158.compute_columns(block, narrow)] if narrow else []
    if wide:
        table_FR = alpha360.compute(block).T
        parts.append(table_FR if len(wide) == len(_WIDE) else table_FR[[_WIDE[name] for name in wide]])
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


_NARROW = frozenset(alpha158.NAMES)
_WIDE = {name: i for i, name in enumerate(alpha360.NAMES)}


def _between(
    datetime_R: NDArray[np.datetime64], start: np.datetime64 | None, end: np.datetime64 | None
) -> NDArray[np.bool_]:
    keep_R = np.ones(len(datetime_R), bool)
    if start is not None:
        keep_R &= datetime_R >= start
    if end is not None:
        keep_R &= datetime_R <= end
    return keep_R


def _row_groups(table: Any, at_least: int = 16_384) -> list[int]:
    """Cut between instruments, so that one instrument is read without most of its neighbours."""
    lengths: list[int] = []
    for run in table["instrument"].combine_chunks().value_counts().field("counts").to_pylist():
        if lengths and lengths[-1] < at_least:
            lengths[-1] += run
        else:
            lengths.append(run)
    return lengths


def _describe(uri: str, table: Any, data: bytes) -> TablePart:
    counted = table["instrument"].combine_chunks().value_counts()
    when = table["datetime"].to_numpy()
    return TablePart(
        name=files.name_of(uri),
        instruments=tuple(counted.field("values").to_pylist()),
        counts=tuple(counted.field("counts").to_pylist()),
        first=str(when.min()),
        last=str(when.max()),
        sha256=hashlib.sha256(data).hexdigest(),
    )


def _manifest(job: FeatureJob, parts: Sequence[TablePart]) -> dict[str, Any]:
    content = [job.request, list(job.columns), [[part.sha256, part.rows] for part in parts]]
    return {
        "state": "complete",
        "fingerprint": hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32],
        "request": job.request,
        "bars": {"uri": job.bars.uri, "fingerprint": job.bars.fingerprint},
        "columns": list(job.columns),
        "label": {"column": LABEL_COLUMN, "expression": DEFAULT_LABEL},
        "rows": sum(part.rows for part in parts),
        "files": [asdict(part) for part in parts],
    }
