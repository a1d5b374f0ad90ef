"""From a source of bars to a bars dataset: groups of instruments in, files out, metadata last.

The dataset that readers see changes at one point, when the new metadata is put in place: an import that is
killed leaves the old dataset, or none, and the next one clears away what was left. One import at a time has the
folder. Equal bars give equal
files and an equal fingerprint, so an import of what is there already changes nothing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from raybench.data import parquet, storage
from raybench.data.adjustment import Adjustment, adjusted, is_adjusted_close
from raybench.data.bars import BarBlock, Bars, cut
from raybench.data.bars_metadata import METADATA, BarsFile, BarsMetadata
from raybench.data.census import Census, DateRules, has_bar
from raybench.data.claims import held
from raybench.data.quality import Findings, check, clock, found, merge, serious
from raybench.data.replacing import refuse_loss, shorter
from raybench.data.sources.letter_case import spelled_as_bars
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
    """The result of an import; ``changed`` is false when the same bars were there already.

    ``warnings``: what is probably not meant, a line each.
    """

    uri: str
    metadata: BarsMetadata
    changed: bool
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def import_bars(
    source: Source,
    to: storage.Uri,
    *,
    universes: Mapping[str, Universe] | None = None,
    rules: DateRules | None = None,
    replace: bool = False,
    adjust: str | None = None,
    progress: Progress = SILENT,
) -> Imported:
    """Write the bars of ``source`` to the dataset ``to``, which is made or replaced as a whole.

    ``universes`` are added to those of the source; ``all`` always exists. ``rules`` say which dates of a table
    are dates. A dataset that holds more than the source is left alone unless ``replace`` is true; one that is
    being written by another process is left alone: DataError. ``adjust`` is the field by which raw prices become
    adjusted ones: prices times it, volume divided by it.
    """
    uri = storage.open_location(to).uri
    if uri.startswith(source.uri.rstrip("/") + "/") and source.uri:
        raise DataError(f"{uri}: lies in the source {source.uri}; want another place (--to)")
    missing = [name for name in REQUIRED if name not in source.fields]
    if missing or not source.spans:
        raise DataError(f"{source.uri}: has no {'column ' + missing[0] if missing else 'bars'}")
    _check_adjust(source, adjust)
    extra, spelled = spelled_as_bars(universes or {}, list(source.spans))
    source = source.settled({**source.universes, **extra}, rules)
    every = _universes(source, extra)
    with held(uri, what="import"):
        target = _Target(uri, replace=replace)
        done = _import(target, source, every, replace=replace, adjust=adjust, progress=progress)
    scaled = (_scaled(adjust),) if adjust else ()
    return dataclasses.replace(done, notes=done.notes + spelled + scaled + _undated({**source.universes, **extra}))


def _scaled(adjust: str) -> str:
    by = f"{adjust} / close" if is_adjusted_close(adjust) else adjust
    return f"prices were multiplied by {by}, volume divided by it (--adjust)"


def _check_adjust(source: Source, adjust: str | None) -> None:
    if adjust is None:
        return
    if source.format == "qlib":
        raise DataError("--adjust is for tables of raw prices; those of a Qlib provider are adjusted already")
    others = [name for name in source.fields if name not in REQUIRED]
    if adjust not in others:
        has = f"it has {', '.join(others)}" if others else "it has none but prices and volume"
        raise DataError(f"{source.uri}: has no field {adjust} to adjust prices by (--adjust); {has}")


def _undated(universes: Mapping[str, Universe]) -> tuple[str, ...]:
    return tuple(
        f"universe {name}: a list of {len(universe.instruments)} names without dates; each is a member over the whole "
        "history, so who left, failed or was not yet listed then is missing"
        for name, universe in universes.items()
        if not universe.dated
    )


def check_target(to: storage.Uri, *, replace: bool = False) -> None:
    """Refuse a place that holds something other than a bars dataset, or that another import is writing."""
    uri = storage.open_location(to).uri
    with held(uri, what="import"):
        _Target(uri, replace=replace)


def _import(
    target: _Target,
    source: Source,
    universes: Mapping[str, Universe],
    *,
    replace: bool,
    adjust: str | None,
    progress: Progress,
) -> Imported:
    old = target.old
    fewer = None
    if old is not None and not replace:
        before = Bars(uri=target.uri, metadata=old)
        refuse_loss(before, source, universes)
        fewer = shorter(before, source)
    try:
        metadata = _write(target, source, universes, adjust, progress)
        changed = old is None or _differs(metadata, old) or bool(target.published)
        if changed:
            target.publish_metadata(metadata)
    except BaseException:  # an interrupt too
        target.undo()
        raise
    target.clear(metadata)
    return Imported(
        uri=target.uri,
        metadata=metadata if old is None or changed else old,
        changed=changed,
        notes=source.notes,
        warnings=((fewer,) if fewer else ()) + serious(metadata.warnings),
    )


def _differs(new: BarsMetadata, old: BarsMetadata) -> bool:
    return dataclasses.replace(new, source=old.source) != old


def _write(
    target: _Target, source: Source, universes: Mapping[str, Universe], adjust: str | None, progress: Progress
) -> BarsMetadata:
    files: list[BarsFile] = []
    findings = merge(source.findings, _absent(universes, source.spans))
    census = Census(source.calendar, {name: universe for name, universe in universes.items() if name != ALL})
    adjustment = Adjustment()
    digest = hashlib.sha256(json.dumps([source.frequency, list(source.fields)]).encode())
    digest.update(_little(source.calendar))
    with progress.track("import", sum(map(len, source.spans.values()))) as advance:
        for block in _parts(source):
            if adjust:
                block, lost = adjusted(block, adjust)
                findings = merge(findings, lost)
            findings = merge(findings, check(block))
            adjustment.add(block)
            _count(census, block, source.spans)
            _digest_bars(digest, block)
            files.append(_publish_part(target, len(files), block))
            advance(block.rows, text=block.instruments[-1])
    findings = merge(findings, merge(census.findings(), adjustment.findings()))
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
        source={"format": source.format, "uri": source.uri} | ({"adjusted_by": adjust} if adjust else {}),
        warnings={name: finding.to_json() for name, finding in sorted(findings.items())},
    )


def _count(census: Census, block: BarBlock, spans: Mapping[str, range]) -> None:
    bar_R = has_bar(block.fields, block.rows)
    for i, name in enumerate(block.instruments):
        rows = bar_R[int(block.start_N1[i]) : int(block.start_N1[i + 1])]
        census.add(name, spans[name].start + np.flatnonzero(rows))


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
        footer=parquet.footer_hash(data),
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
    """The folder of the dataset: what is there, what this import has put there so far. Its owner alone makes one."""

    def __init__(self, uri: str, *, replace: bool) -> None:
        self.uri = uri
        self.staging = storage.join(uri, STAGING)
        self.old = _existing(uri, replace=replace)
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

    def publish_metadata(self, metadata: BarsMetadata) -> None:
        """Make the files that were put in place the dataset, if they are all there.

        They are, unless another import had the folder too, on a file system that cannot keep it out.
        """
        gone = set(metadata.names) - set(storage.sizes(self.uri))
        if gone:
            raise DataError(f"{self.uri}: another import took {min(gone)} away while this one wrote; import again")
        self.publish(METADATA, metadata.to_json())

    def clear(self, metadata: BarsMetadata | None) -> None:
        """Delete what imports put here and the metadata does not name, then what they left in staging."""
        named = set() if metadata is None else set(metadata.names)
        for name in storage.sizes(self.uri):
            if _OURS.fullmatch(name) and name not in named:
                storage.remove(storage.join(self.uri, name))
        for name in _staging_names(self.uri):
            storage.discard(storage.join(self.uri, name))

    def undo(self) -> None:
        """Take back what this import has published and the metadata, whichever is there now, does not name."""
        if self._begun:
            with contextlib.suppress(DataError):  # cannot be asked now: the next import clears
                now = _existing(self.uri, replace=False)
                self.clear(now)
                if now is None:
                    storage.discard(self.uri)


def _existing(uri: str, *, replace: bool) -> BarsMetadata | None:
    """What is there; None for nothing, and for a damaged dataset that is to be replaced."""
    if not storage.exists(uri):
        return None
    if not storage.is_folder(uri):
        raise DataError(f"{uri}: is a file; want a folder for the bars dataset (--to)")
    names = storage.children(uri)
    if METADATA in names:
        file = storage.join(uri, METADATA)
        try:
            return BarsMetadata.from_json(storage.read_bytes(file), where=file)
        except DataError:
            if replace and any(_OURS.fullmatch(name) for name in storage.sizes(uri)):
                return None
            raise
    if names and not _staging_names(uri):
        raise DataError(f"{uri}: is no bars dataset (no {METADATA} in it); want a new or empty folder (--to)")
    return None


def _staging_names(uri: str) -> list[str]:
    return [name for name in storage.children(uri) if name in (STAGING, STAGING + ".staging")]
