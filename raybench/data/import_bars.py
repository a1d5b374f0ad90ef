"""From a source of bars to a bars dataset: groups of instruments in, files out, metadata last.

The dataset that readers see changes at one point, when the new metadata is put in place: an import that is
killed leaves the old dataset, or none, and the next one clears away what was left. Equal bars give equal
files and an equal fingerprint, so an import of what is there already changes nothing.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from raybench.data import storage
from raybench.data.bars import BarBlock, cut
from raybench.data.bars_metadata import METADATA, BarsFile, BarsMetadata
from raybench.data.quality import Findings, check, clock, found, merge
from raybench.data.sources.source import REQUIRED, Source
from raybench.data.universe import ALL, FOREVER, Universe, universe_of_bars
from raybench.errors import DataError
from raybench.progress import SILENT, Progress

FILE_BYTES = 48 << 20  # of values; compressed a file is about two thirds of that
ROW_GROUP_ROWS = 65_536
STAGING = ".staging"
MARKER = "importing"
_OURS = re.compile(r"(bars/part-\d+|calendar/calendar|universe/[^/]+)-[0-9a-f]{16}\.parquet")


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """The result of an import; ``changed`` is false when the same bars were there already."""

    uri: str
    metadata: BarsMetadata
    changed: bool
    notes: tuple[str, ...] = ()


def import_bars(
    source: Source,
    to: storage.Uri,
    *,
    universes: Mapping[str, Universe] | None = None,
    progress: Progress = SILENT,
) -> Imported:
    """Write the bars of ``source`` to the dataset ``to``, which is made or replaced as a whole.

    ``universes`` are added to those of the source; ``all`` always exists.
    """
    target = _Target(storage.open_location(to).uri)
    if target.uri.startswith(source.uri.rstrip("/") + "/") and source.uri:
        raise DataError(f"{target.uri}: lies in the source {source.uri}; want another place (--to)")
    missing = [name for name in REQUIRED if name not in source.fields]
    if missing or not source.spans:
        raise DataError(f"{source.uri}: has no {'column ' + missing[0] if missing else 'bars'}")
    every = _universes(source, universes or {})
    try:
        metadata = _write(target, source, every, progress)
    except DataError:
        target.undo()
        raise
    old = target.old
    changed = old is None or replace(metadata, source=old.source) != old or bool(target.published)
    if changed:
        target.publish(METADATA, metadata.to_json())
    target.clear(metadata)
    return Imported(
        uri=target.uri,
        metadata=metadata if old is None or changed else old,
        changed=changed,
        notes=source.notes,
    )


def check_target(to: storage.Uri) -> None:
    """Refuse a place that holds something other than a bars dataset."""
    _Target(storage.open_location(to).uri)


def _write(target: _Target, source: Source, universes: Mapping[str, Universe], progress: Progress) -> BarsMetadata:
    files: list[BarsFile] = []
    findings = merge(source.findings, _absent(universes, source.spans))
    digest = hashlib.sha256(json.dumps([source.frequency, list(source.fields)]).encode())
    digest.update(_little(source.calendar))
    with progress.track("import", sum(map(len, source.spans.values()))) as advance:
        for block in _parts(source):
            findings = merge(findings, check(block))
            _digest_bars(digest, block)
            files.append(_publish_part(target, len(files), block))
            advance(block.rows, text=block.instruments[-1])
    calendar = pa.table({"datetime": _stamps(source.calendar)})
    named = {}
    for name, universe in sorted(universes.items(), key=lambda pair: (pair[0] != ALL, pair[0])):
        table = _spans_table(universe)
        digest.update(json.dumps([name, *map(str, table.to_pylist())]).encode())
        named[name] = target.publish_table(f"universe/{name}", table)
    return BarsMetadata(
        frequency=source.frequency,
        fingerprint=digest.hexdigest(),
        fields=source.fields,
        dates=len(source.calendar),
        first=clock(source.calendar[0]),
        last=clock(source.calendar[-1]),
        calendar=target.publish_table("calendar/calendar", calendar),
        files=tuple(files),
        universes=named,
        source={"format": source.format, "uri": source.uri},
        warnings={name: finding.to_json() for name, finding in sorted(findings.items())},
    )


def _parts(source: Source) -> Iterator[BarBlock]:
    """The bars of one file after another."""
    rows = FILE_BYTES // (8 + 4 * len(source.fields))
    names = list(source.spans)
    for group in cut(names, [len(source.spans[name]) for name in names], rows):
        block = source.block(group)
        assert block.instruments == group
        yield block


def _publish_part(target: _Target, number: int, block: BarBlock) -> BarsFile:
    counts = np.diff(block.start_N1).tolist()
    groups = iter(cut(block.instruments, counts, ROW_GROUP_ROWS))
    rows_of = dict(zip(block.instruments, counts, strict=True))
    names = pa.array(block.instruments, pa.string())
    table = pa.table(
        {
            "instrument": names.take(pa.array(block.code_R)),
            "datetime": _stamps(block.datetime_R),
            **{name: pa.array(value_R, pa.float32()) for name, value_R in block.fields.items()},
        }
    )
    data = storage.encode_table(
        table,
        row_groups=[sum(rows_of[name] for name in group) for group in groups],
        compression_level=1,
        use_dictionary=["instrument"],
        use_byte_stream_split=list(block.fields),
    )
    sha256 = hashlib.sha256(data).hexdigest()
    name = f"bars/part-{number:05d}-{sha256[:16]}.parquet"
    target.publish(name, data)
    return BarsFile(
        name=name,
        rows=block.rows,
        instruments=block.instruments,
        counts=tuple(counts),
        first=clock(block.datetime_R.min()),
        last=clock(block.datetime_R.max()),
        bytes=len(data),
        sha256=sha256,
    )


def _universes(source: Source, extra: Mapping[str, Universe]) -> dict[str, Universe]:
    """All universes by name; ``all`` is what the source says, else every instrument while it has bars."""
    ranges = {
        name: (source.calendar[span.start], source.calendar[span.stop - 1]) for name, span in source.spans.items()
    }
    for name, universe in extra.items():
        if name == ALL:
            raise DataError(f"universe {ALL} is made from the bars; give yours another name")
        if not set(universe.instrument_K) & set(ranges):
            raise DataError(
                f"universe {name}: none of its {len(universe.instruments)} instruments has bars; it has "
                f"{universe.instrument_K[0]} ..., the bars have {next(iter(ranges))} ..."
            )
    return {ALL: universe_of_bars(ranges), **source.universes, **extra}


def _absent(universes: Mapping[str, Universe], spans: Mapping[str, range]) -> Findings:
    listed = {name for universe in universes.values() for name in universe.instrument_K}
    return found("member_without_files", sorted(listed - set(spans)))


def _spans_table(universe: Universe) -> Any:
    end_K = np.where(universe.end_K == FOREVER, np.datetime64("NaT", "us"), universe.end_K)
    return pa.table(
        {
            "instrument": pa.array(universe.instrument_K, pa.string()),
            "start": _stamps(universe.start_K),
            "end": _stamps(end_K),
        }
    )


def _digest_bars(digest: Any, block: BarBlock) -> None:
    for i, name in enumerate(block.instruments):
        one = block.slice(i)
        digest.update(json.dumps([name, one.rows]).encode())
        digest.update(_little(one.datetime_R))
        for value_R in one.fields.values():
            digest.update(np.where(np.isnan(value_R), np.float32(np.nan), value_R).astype("<f4").tobytes())


def _little(moments: Any) -> bytes:
    return bytes(moments.astype("datetime64[us]").astype("<i8").tobytes())


def _stamps(moments: Any) -> Any:
    return pa.array(moments.astype("datetime64[us]"), pa.timestamp("us"))


class _Target:
    """The folder of the dataset: what is there, what this import has put there so far."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.staging = storage.join(uri, STAGING)
        self.old = self._existing()
        self.published: list[str] = []
        self._begun = False

    def publish(self, name: str, data: bytes) -> None:
        """Put a file in place, unless the same is there."""
        uri = storage.join(self.uri, name)
        if storage.exists(uri) and storage.read_bytes(uri) == data:
            return
        if not self._begun:
            storage.publish_bytes(storage.join(self.staging, MARKER), b"raybench import\n")
            self._begun = True
        storage.publish_bytes(uri, data, staging=self.staging)
        self.published.append(name)

    def publish_table(self, stem: str, table: Any) -> str:
        """Put a small table in place under a name that tells its content; returns the name."""
        data = storage.encode_table(table)
        name = f"{stem}-{hashlib.sha256(data).hexdigest()[:16]}.parquet"
        self.publish(name, data)
        return name

    def clear(self, metadata: BarsMetadata | None) -> None:
        """Delete what imports put here and the metadata does not name, then what they left in staging."""
        named = set() if metadata is None else set(metadata.names)
        for name in storage.sizes(self.uri):
            if _OURS.fullmatch(name) and name not in named:
                storage.remove(storage.join(self.uri, name))
        for name in _staging_names(self.uri):
            storage.discard(storage.join(self.uri, name))

    def undo(self) -> None:
        """Take back what this import has published, for the metadata is still the old one."""
        if self._begun:
            self.clear(self.old)
            if self.old is None:
                storage.discard(self.uri)

    def _existing(self) -> BarsMetadata | None:
        if not storage.exists(self.uri):
            return None
        if not storage.is_folder(self.uri):
            raise DataError(f"{self.uri}: is a file; want a folder for the bars dataset (--to)")
        names = storage.children(self.uri)
        if METADATA in names:
            file = storage.join(self.uri, METADATA)
            return BarsMetadata.from_json(storage.read_bytes(file), where=file)
        if names and not _staging_names(self.uri):
            raise DataError(f"{self.uri}: is no bars dataset (no {METADATA} in it); want a new or empty folder (--to)")
        return None


def _staging_names(uri: str) -> list[str]:
    return [name for name in storage.children(uri) if name in (STAGING, STAGING + ".staging")]
