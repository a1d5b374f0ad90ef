"""From a source of bars to a bars dataset: groups of instruments in, files out, metadata last.

The dataset that readers see changes at one point, when the new metadata is put in place: an import that is
killed leaves the old dataset, or none, and the next one clears away what was left. One import at a time has the
folder. Equal bars give equal files and an equal fingerprint, so an import of what is there already changes nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from raybench.columns.names import CUSTOMARY, plain
from raybench.errors import DataError
from raybench.market.adjustment import is_adjusted_close
from raybench.market.bars import Bars
from raybench.market.bars_metadata import BarsMetadata
from raybench.market.census import DateRules
from raybench.market.importing.replacing import Replaced
from raybench.market.importing.target import Target
from raybench.market.importing.writing import write
from raybench.market.quality import loud
from raybench.market.sources.letter_case import spelled_as_bars
from raybench.market.sources.source import REQUIRED, Source
from raybench.market.universe import ALL, Universe
from raybench.progress import SILENT, Progress
from raybench.reports.text import numbered
from raybench.storage import files as storage
from raybench.storage.claims import held
from raybench.storage.places import Kind, refuse_others


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportResult:
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
    market: str | None = None,
    patience: float = 0.0,
    progress: Progress = SILENT,
) -> ImportResult:
    """Write the bars of ``source`` to the dataset ``to``, which is made or replaced as a whole.

    ``universes`` are added to those of the source; ``all`` always exists. ``rules`` say which dates of a table
    are dates. A dataset that holds more than the source is left alone unless ``replace`` is true; one that is
    being written by another process is left alone: DataError. ``adjust`` is the field by which raw prices become
    adjusted ones: prices times it, volume divided by it. ``market``: an exchange whose sessions the calendar is held
    against.
    """
    uri = storage.open_location(to).uri
    refuse_others(uri, Kind.BARS, option="--to")
    adjust = field_meant(source, adjust)
    check_source(source, uri, adjust)
    extra, spelled = spelled_as_bars(universes or {}, list(source.spans))
    source = source.settled({**source.universes, **extra}, rules)
    check_universes(extra, list(source.spans))
    every = {**source.universes, **extra}
    with held(uri, what="import", patience=patience, say=progress.note):
        target = Target(uri, replace=replace)
        done = _import(target, source, every, replace=replace, adjust=adjust, market=market, progress=progress)
    return dataclasses.replace(done, notes=(*done.notes, *spelled, *said_of(source, extra, adjust)))


def field_meant(source: Source, adjust: str | None) -> str | None:
    """The field that ``adjust`` means: itself, or what the column of that name was taken as, such as ``adj_close``."""
    if adjust is None or adjust in source.fields:
        return adjust
    meant = [ours for ours, names in CUSTOMARY.items() if plain(adjust) in names and ours in source.fields]
    return meant[0] if meant else adjust


def check_source(source: Source, to: str, adjust: str | None) -> None:
    """DataError if a source lacks what bars need, or what it is adjusted by, or has the target in it."""
    if to.startswith(source.uri.rstrip("/") + "/") and source.uri:
        raise DataError(f"{to}: lies in the source {source.uri}; want another place (--to)")
    missing = [name for name in REQUIRED if name not in source.fields]
    if missing or not source.spans:
        has = ", ".join(source.fields) or "no fields"
        lacks = f"column {', '.join(missing)}; it has {has}, want {', '.join(REQUIRED)}" if missing else "bars"
        raise DataError(f"{source.uri or 'bars'}: has no {lacks}")
    _check_adjust(source, adjust)


def said_of(source: Source, extra: Mapping[str, Universe], adjust: str | None) -> tuple[str, ...]:
    """What people should know of how the bars were made: adjusted, and with lists that know no dates."""
    scaled = (_scaled(adjust),) if adjust else ()
    return (*scaled, *_undated({**source.universes, **extra}))


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
        f"universe {name}: a list of {numbered(len(universe.instruments), 'name|names')} without dates; "
        "each is a member over the whole "
        "history, so who left, failed or was not yet listed then is missing"
        for name, universe in universes.items()
        if not universe.dated
    )


def check_target(to: storage.Uri, *, replace: bool = False) -> None:
    """Refuse a place that holds something other than a bars dataset, or that another import is writing."""
    uri = storage.open_location(to).uri
    refuse_others(uri, Kind.BARS, option="--to")
    with held(uri, what="import"):
        Target(uri, replace=replace)


def _import(
    target: Target,
    source: Source,
    universes: Mapping[str, Universe],
    *,
    replace: bool,
    adjust: str | None,
    market: str | None,
    progress: Progress,
) -> ImportResult:
    old = target.old
    fewer = None
    before = None if old is None or replace else Replaced.of(Bars(uri=target.uri, metadata=old), source)
    if before is not None:
        before.refuse_loss(source, universes)
    with target.changing():
        metadata, holdings = write(target, source, universes, adjust, progress, market)
        if before is not None and metadata.files != before.bars.files:
            fewer = before.refuse_emptied(holdings)
        changed = old is None or _differs(metadata, old) or bool(target.published)
        if changed:
            target.publish_metadata(metadata)
    target.clear(metadata)
    return ImportResult(
        uri=target.uri,
        metadata=metadata if old is None or changed else old,
        changed=changed,
        notes=source.notes,
        warnings=((fewer,) if fewer else ()) + loud(metadata.warnings),
    )


def _differs(new: BarsMetadata, old: BarsMetadata) -> bool:
    return dataclasses.replace(new, source=old.source) != old


def check_universes(universes: Mapping[str, Universe], instruments: Sequence[str]) -> None:
    """DataError if one is called ``all``, or none of its members is among the instruments that have bars."""
    known = set(instruments)
    for name, universe in universes.items():
        if name == ALL:
            raise DataError(f"universe {ALL} is made from the bars; give yours another name")
        if known.isdisjoint(universe.instrument_K):
            raise DataError(
                f"universe {name}: none of its "
                f"{numbered(len(universe.instruments), 'instrument|instruments')} has bars; it has "
                f"{universe.instrument_K[0]} ..., the bars have {instruments[0]} ..."
            )
