"""Bars that are there and bars that come, as one source: what a full import of both would see.

R rows, T entries of the calendar of both. Where both have a row of an instrument, the one that comes counts, unless it
has no value: a source that leaves suspended instruments out, or says nothing of them, takes nothing away. Each
instrument is completed with NaN rows from its first row in either to its last.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from raybench.columns.types import Floats, Moments
from raybench.market.adjustment import adjusted
from raybench.market.bars import BarBlock, Bars, block_of
from raybench.market.calendar import no_moments, positions, union
from raybench.market.census import DateRules
from raybench.market.quality import Findings
from raybench.market.sources.source import Source
from raybench.market.universe import Universe


@dataclass(frozen=True, slots=True, kw_only=True)
class Coming:
    """A settled source whose bars are added, adjusted by the field ``adjust`` where it is given."""

    source: Source
    adjust: str | None = None

    def block(self, instruments: Sequence[str], fields: Sequence[str]) -> tuple[BarBlock, Findings]:
        """The bars of neighbours, those of ``fields``; and the rows that no factor was known for."""
        block = self.source.block(instruments)
        lost: Findings = {}
        if self.adjust:
            block, lost = adjusted(block, self.adjust)
        return replace(block, fields={name: block.fields[name] for name in fields}), lost


@dataclass(frozen=True, slots=True, kw_only=True)
class UnionSource:
    """The bars of a dataset, and of a source where one is given, as a source of whole instruments."""

    bars: Bars
    coming: Coming | None
    calendar: Moments
    spans: Mapping[str, range]
    format: str
    uri: str
    universes: Mapping[str, Universe] = field(default_factory=dict)
    findings: Findings = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    left_out: Moments = field(default_factory=no_moments)

    @classmethod
    def of(cls, bars: Bars, coming: Coming | None = None) -> UnionSource:
        """Both; without a source what is there."""
        calendar_T = bars.calendar if coming is None else union(bars.calendar, coming.source.calendar)
        ranges = {name: (at[0], at[1]) for name, at in bars.lives(trailing=False).items()}
        if coming is not None:
            of = coming.source
            for name, span in of.spans.items():
                first, last = of.calendar[span.start], of.calendar[span.stop - 1]
                begun = ranges.get(name, (first, last))
                ranges[name] = (min(first, begun[0]), max(last, begun[1]))
        names = sorted(ranges)
        starts, lasts = (
            positions(calendar_T, np.array([ranges[name][k] for name in names], "datetime64[us]")).tolist()
            for k in (0, 1)
        )
        spans = {name: range(start, last + 1) for name, start, last in zip(names, starts, lasts, strict=True)}
        kind = bars.metadata.source
        return cls(
            bars=bars,
            coming=coming,
            calendar=calendar_T,
            spans=spans,
            format=kind.get("format", ""),
            uri=kind.get("uri", ""),
        )

    @property
    def frequency(self) -> str:
        return self.bars.frequency

    @property
    def fields(self) -> tuple[str, ...]:
        return self.bars.fields

    def settled(
        self, universes: Mapping[str, Universe], rules: DateRules | None, there: Moments | None = None
    ) -> UnionSource:
        """The source itself: both calendars are settled."""
        return self

    def block(self, instruments: Sequence[str]) -> BarBlock:
        """The complete bars of these neighbours."""
        there = set(self.bars.instruments)
        old = _rows(self.bars.block([name for name in instruments if name in there], trailing=False))
        new: dict[str, Rows] = {}
        if self.coming is not None:
            names = [name for name in instruments if name in self.coming.source.spans]
            if names:
                new = _rows(self.coming.block(names, self.fields)[0])
        return block_of(self._merged(instruments, old, new), self.fields)

    def _merged(
        self, instruments: Sequence[str], old: Mapping[str, Rows], new: Mapping[str, Rows]
    ) -> Iterator[tuple[str, Moments, dict[str, Floats]]]:
        for name in instruments:
            span = self.spans[name]
            when_R = self.calendar[span.start : span.stop]
            yield name, when_R, overlaid(when_R, self.fields, old.get(name), new.get(name))


Rows = tuple[Moments, Mapping[str, Floats]]


def overlaid(when_R: Moments, fields: Sequence[str], old: Rows | None, new: Rows | None) -> dict[str, Floats]:
    """Values at ``when_R``: those of ``new`` where a row has any, else those of ``old``, else NaN."""
    values = {name: np.full(len(when_R), np.nan, np.float32) for name in fields}
    for rows in (old, new):
        if rows is None:
            continue
        kept_R = valued(rows[1], len(rows[0]))
        at_R = np.searchsorted(when_R, rows[0][kept_R])
        for name in fields:
            values[name][at_R] = rows[1][name][kept_R]
    return values


def valued(fields: Mapping[str, Floats], rows: int) -> NDArray[np.bool_]:
    """Which rows have a value in any field -> [R]."""
    mask_R = np.zeros(rows, dtype=bool)
    for value_R in fields.values():
        if not mask_R.all():
            mask_R |= ~np.isnan(value_R)
    return mask_R


def _rows(block: BarBlock) -> dict[str, Rows]:
    rows: dict[str, Rows] = {}
    for i, name in enumerate(block.instruments):
        one = block.slice(i)
        rows[name] = (one.datetime_R, one.fields)
    return rows
