"""What an import writes: parts, calendar, universes, and the metadata that makes them a dataset.

T calendar entries, N instruments. What the metadata says of each instrument is gathered while its bars go by.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from raybench.columns.spelling import twins
from raybench.columns.types import Moments
from raybench.market.adjustment import adjusted
from raybench.market.bars import BarBlock
from raybench.market.bars_metadata import BarsFile, BarsMetadata, Histories
from raybench.market.calendar import positions
from raybench.market.census import has_bar
from raybench.market.digests import digests
from raybench.market.importing.holdings import Holdings
from raybench.market.importing.parts import PartsWriter, groups_of_file
from raybench.market.importing.survey import Survey
from raybench.market.importing.target import Target
from raybench.market.membership import Days, Runs, trailing_rows, universe_of_runs
from raybench.market.quality import Findings, clock, found, merge
from raybench.market.sessions import session_findings
from raybench.market.sources.source import Source
from raybench.market.universe import ALL, FOREVER, Universe
from raybench.progress import Progress


class Records:
    """What is to be remembered of each instrument; blocks of whole instruments are added in sorted order."""

    def __init__(self, days: Days, fields: Sequence[str]) -> None:
        self.runs: dict[str, Runs] = {}
        self._days = days
        self._fields = fields
        self._rows: dict[str, tuple[int, int, int, str]] = {}

    def add(self, block: BarBlock) -> None:
        """Remember the instruments of a block."""
        at_R = positions(self._days.calendar_T, block.datetime_R)
        bar_R = has_bar(block.fields, block.rows)
        for i, (name, digest) in enumerate(zip(block.instruments, digests(block, self._fields), strict=True)):
            rows = slice(int(block.start_N1[i]), int(block.start_N1[i + 1]))
            bars = at_R[rows][bar_R[rows]]
            self.runs[name] = self._days.runs(bars)
            newest = int(bars[-1]) if len(bars) else -1
            self._rows[name] = (int(at_R[rows.start]), rows.stop - rows.start, newest, digest)

    def histories(self) -> Histories:
        """All of them, without the rows that trail, which universes decide."""
        names = sorted(self._rows)
        starts, counts, newest, digests = zip(*(self._rows[name] for name in names), strict=True)
        return Histories(
            instruments=tuple(names),
            starts=starts,
            counts=counts,
            newest=newest,
            trailing=(0,) * len(starts),
            digests=digests,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What makes a dataset what it is, however it is cut into files.

    histories : without the rows that trail
    universes : by name, ``all`` among them; ``given`` if the source brought that one
    """

    frequency: str
    fields: tuple[str, ...]
    calendar: Moments
    histories: Histories
    universes: Mapping[str, Universe]
    given: bool


def write(
    target: Target,
    source: Source,
    universes: Mapping[str, Universe],
    adjust: str | None,
    progress: Progress,
    market: str | None = None,
) -> tuple[BarsMetadata, Holdings]:
    """Write the bars of a settled source with its universes; ``all`` is made from the bars where it is not given.

    ``market``: the exchange whose sessions the calendar is held against.
    """
    findings = merge(source.findings, _absent(universes, source.spans))
    survey, holdings = Survey(source, universes), Holdings()
    days = Days(source.calendar)
    records, writer = Records(days, source.fields), PartsWriter(target.publish, source.calendar)
    with progress.track("import", sum(map(len, source.spans.values()))) as advance:
        for block in blocks_of(source):
            if adjust:
                block, lost = adjusted(block, adjust)
                findings = merge(findings, lost)
            survey.add(block)
            holdings.add(block)
            records.add(block)
            writer.add(block)
            advance(block.rows, text=block.instruments[-1])
    given = ALL in universes
    content = Content(
        frequency=source.frequency,
        fields=source.fields,
        calendar=source.calendar,
        histories=records.histories(),
        universes={**universes, **({} if given else {ALL: universe_of_runs(records.runs, days)})},
        given=given,
    )
    findings = merge(findings, survey.findings())
    findings = findings if market is None else {**findings, **session_findings(market, source.calendar)}
    origin = {"format": source.format, "uri": source.uri, "adjusted_by": adjust, "market": market}
    metadata = publish(
        target,
        content,
        writer.finish(),
        source={name: text for name, text in origin.items() if text is not None},
        warnings={name: finding.to_json() for name, finding in sorted(findings.items())},
    )
    return metadata, holdings


def blocks_of(source: Source) -> Iterator[BarBlock]:
    """The bars of one file after another."""
    names = list(source.spans)
    for group in groups_of_file(names, [len(source.spans[name]) for name in names], len(source.fields)):
        block = source.block(group)
        assert block.instruments == group
        yield block


def publish(
    target: Target,
    content: Content,
    files: tuple[BarsFile, ...],
    *,
    source: Mapping[str, str],
    warnings: Mapping[str, Any],
) -> BarsMetadata:
    """Put calendar and universes in place -> the metadata of these with ``files``, which is not published yet."""
    known, calendar_T = content.histories, content.calendar
    ordered = dict(sorted(content.universes.items(), key=lambda pair: (pair[0] != ALL, pair[0])))
    tables = {name: _spans_table(universe) for name, universe in ordered.items()}
    stop_N = np.add(known.starts, known.counts)
    trailing = trailing_rows(ordered.values(), known.instruments, stop_N, calendar_T)
    calendar = pa.table({"datetime": _stamps(calendar_T)})
    return BarsMetadata(
        frequency=content.frequency,
        fingerprint=_fingerprint(content, tables),
        fields=content.fields,
        dates=len(calendar_T),
        first=clock(calendar_T[0]),
        last=clock(calendar_T[-1]),
        calendar=target.publish_table("calendar/calendar", calendar),
        files=files,
        universes={name: target.publish_table(f"universe/{name}", table) for name, table in tables.items()},
        source=dict(source),
        warnings=dict(warnings),
        histories=replace(known, trailing=tuple(trailing)),
        given=content.given,
    )


def _fingerprint(content: Content, tables: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps([content.frequency, list(content.fields)]).encode())
    digest.update(content.calendar.astype("datetime64[us]").astype("<i8").tobytes())
    known = content.histories
    rows = list(zip(known.instruments, known.starts, known.counts, known.digests, strict=True))
    digest.update(json.dumps(rows).encode())
    for name, table in tables.items():
        digest.update(json.dumps([name, *map(str, table.to_pylist())]).encode())
    return digest.hexdigest()


def _absent(universes: Mapping[str, Universe], spans: Mapping[str, range]) -> Findings:
    listed = {name for universe in universes.values() for name in universe.instrument_K}
    absent = sorted(listed - set(spans))
    spelt = [f"{name} (the bars have {other})" for name, other in twins(absent, spans).items()]
    return {**found("member_without_files", absent), **found("member_spelt_otherwise", spelt)}


def _spans_table(universe: Universe) -> Any:
    end_K = np.where(universe.end_K == FOREVER, np.datetime64("NaT", "us"), universe.end_K)
    return pa.table(
        {
            "instrument": pa.array(universe.instrument_K, pa.string()),
            "start": _stamps(universe.start_K),
            "end": _stamps(end_K),
        }
    )


def _stamps(moments: Any) -> Any:
    return pa.array(moments.astype("datetime64[us]"), pa.timestamp("us"))
