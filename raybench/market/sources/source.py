"""What every source of bars offers to the import, whatever its format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from raybench.columns.types import Moments
from raybench.market.bars import BarBlock
from raybench.market.calendar import infer_frequency, no_moments, positions
from raybench.market.census import DateRules
from raybench.market.quality import Findings
from raybench.market.universe import Universe


class Source(Protocol):
    """Checked bars that can be had a few instruments at a time.

    Attributes
    ----------
    format, uri : what it is and where, for people
    fields : names of the values, the required ones first
    calendar : datetime64[us] [T]
    spans : instrument -> its complete rows as positions in the calendar; sorted by name
    universes : those that come with the bars
    findings : oddities that only the source can see
    notes : decisions that people should know of, such as ignored columns
    left_out : moments with rows that are kept out of the calendar
    """

    @property
    def format(self) -> str: ...
    @property
    def uri(self) -> str: ...
    @property
    def frequency(self) -> str: ...
    @property
    def fields(self) -> tuple[str, ...]: ...
    @property
    def calendar(self) -> Moments: ...
    @property
    def spans(self) -> Mapping[str, range]: ...
    @property
    def universes(self) -> Mapping[str, Universe]: ...
    @property
    def findings(self) -> Findings: ...
    @property
    def notes(self) -> tuple[str, ...]: ...
    @property
    def left_out(self) -> Moments: ...

    def settled(
        self, universes: Mapping[str, Universe], rules: DateRules | None, there: Moments | None = None
    ) -> Source:
        """The source with the calendar that ``rules`` leave it; ``universes`` are those besides ``all``.

        None: by the rules that hold unless somebody asks for others. ``there``: the calendar of the bars that the
        source is added to, whose dates are dates.
        """
        ...

    def block(self, instruments: Sequence[str]) -> BarBlock:
        """The complete bars of these instruments, given in sorted order."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class MemorySource:
    """Bars that are in memory already, such as the synthetic market or somebody's DataFrame."""

    all_bars: BarBlock
    frequency: str
    calendar: Moments
    spans: Mapping[str, range]
    universes: Mapping[str, Universe]
    format: str = "memory"
    uri: str = ""
    findings: Findings
    notes: tuple[str, ...] = ()
    left_out: Moments = field(default_factory=no_moments)

    def settled(
        self, universes: Mapping[str, Universe], rules: DateRules | None, there: Moments | None = None
    ) -> MemorySource:
        """The source itself: its calendar is the dates that occur."""
        return self

    @property
    def fields(self) -> tuple[str, ...]:
        return field_order(self.all_bars.fields)

    def block(self, instruments: Sequence[str]) -> BarBlock:
        """The complete bars of these instruments, given in sorted order; no copy where they are neighbours."""
        code_of = {name: code for code, name in enumerate(self.all_bars.instruments)}
        codes = [code_of[name] for name in instruments]
        edges = [self.all_bars.start_N1[code : code + 2] for code in codes]
        rows: slice | NDArray[np.int64] = np.concatenate([np.empty(0, np.int64), *(np.arange(*edge) for edge in edges)])
        if codes and codes[-1] - codes[0] + 1 == len(codes):
            rows = slice(edges[0][0], edges[-1][1])
        counts = [int(stop - start) for start, stop in edges]
        return BarBlock(
            instruments=tuple(instruments),
            start_N1=np.cumsum([0, *counts]).astype(np.int64),
            datetime_R=self.all_bars.datetime_R[rows],
            fields={f: self.all_bars.fields[f][rows] for f in self.fields},
        )


def memory_source(
    bars: BarBlock, *, universes: Mapping[str, Universe] | None = None, name: str = "memory"
) -> MemorySource:
    """A source of what is in memory; its calendar is the dates that occur."""
    calendar_T = np.unique(bars.datetime_R)
    at_R = positions(calendar_T, bars.datetime_R)
    edges = bars.start_N1
    spans = {
        instrument: range(int(at_R[edges[i]]), int(at_R[edges[i + 1] - 1]) + 1)
        for i, instrument in enumerate(bars.instruments)
    }
    return MemorySource(
        all_bars=bars,
        frequency=infer_frequency(calendar_T),
        calendar=calendar_T,
        spans=spans,
        universes=dict(universes or {}),
        format=name,
        findings={},
    )


REQUIRED = ("open", "high", "low", "close", "volume")


def field_order(names: Sequence[str] | Mapping[str, object]) -> tuple[str, ...]:
    """The required fields first, then the others by name, so that the order in a source does not matter."""
    rest = sorted(set(names) - set(REQUIRED))
    return (*(name for name in REQUIRED if name in names), *rest)
