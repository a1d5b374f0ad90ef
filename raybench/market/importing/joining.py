"""Files of appended rows, joined: a new date is looked for in few of them.

Past ``MAX_SLICES`` files those that appends have added are made one; once they hold more than ``MUCH`` of all rows,
the whole dataset is cut as a full import cuts it, into the same files.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from raybench.market.bars import Bars
from raybench.market.bars_metadata import BarsFile, BarsMetadata
from raybench.market.importing.parts import PartsWriter, groups_of_file
from raybench.market.importing.survey import SURVEYED
from raybench.market.importing.target import Target
from raybench.market.importing.union import Coming, UnionSource
from raybench.market.importing.writing import write
from raybench.market.universe import ALL, Universe
from raybench.progress import Progress

MAX_SLICES = 4
MUCH = 0.25


def joined_slices(
    target: Target, metadata: BarsMetadata, *, compact: bool, progress: Progress
) -> tuple[BarsMetadata, bool]:
    """The same bars in fewer files where there are too many, or all anew; and whether they are others now."""
    slices = metadata.files[len(metadata.files) - metadata.slices :]
    if not compact and len(slices) <= MAX_SLICES:
        return metadata, False
    bars = Bars(uri=target.uri, metadata=metadata)
    if compact or sum(file.rows for file in slices) > MUCH * metadata.rows:
        universes = {name: bars.listed(name) for name in bars.universes if name != ALL or metadata.given}
        return rewritten(target, bars, None, universes, progress=progress), True
    kept = metadata.files[: len(metadata.files) - metadata.slices]
    writer = PartsWriter(target.publish, bars.calendar, first=_number(slices[0]), recent=False)
    counts: dict[str, int] = {}
    for file in slices:
        for name, count in zip(file.instruments, file.counts, strict=True):
            counts[name] = counts.get(name, 0) + count
    part, names = only(bars, slices), sorted(counts)
    for group in groups_of_file(names, [counts[name] for name in names], len(bars.fields)):
        writer.add(part.block(group, trailing=False))
    joined = writer.finish()
    return replace(metadata, files=(*kept, *joined), slices=len(joined)), True


def rewritten(
    target: Target, bars: Bars, coming: Coming | None, universes: Mapping[str, Universe], *, progress: Progress
) -> BarsMetadata:
    """Write all bars anew, with those of a source; ``universes``: all of them, ``all`` only if it was given.

    What was odd about what is there stays said, but for what is seen anew of both.
    """
    metadata, _ = write(target, UnionSource.of(bars, coming), universes, None, progress)
    warnings = bars.metadata.warnings
    if coming is not None:
        kept = {name: finding for name, finding in warnings.items() if name not in SURVEYED}
        warnings = dict(sorted({**kept, **metadata.warnings}.items()))
    return replace(metadata, source=bars.metadata.source, warnings=warnings)


def without(target: Target, bars: Bars, file: BarsFile, moved: Collection[str]) -> BarsFile | None:
    """A file without some instruments; None if nothing is left of it."""
    names = [name for name in file.instruments if name not in moved]
    if len(names) == len(file.instruments):
        return file
    if not names:
        return None
    writer = PartsWriter(target.publish, bars.calendar, first=_number(file), recent=False)
    writer.add(only(bars, (file,)).block(names, trailing=False))
    return writer.finish()[0]


def only(bars: Bars, files: tuple[BarsFile, ...]) -> Bars:
    """What some files hold, as bars."""
    return Bars(uri=bars.uri, metadata=replace(bars.metadata, files=files, histories=None))


def _number(file: BarsFile) -> int:
    return int(file.name.removeprefix("bars/part-").partition("-")[0])
