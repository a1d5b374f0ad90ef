"""What every source of bars offers to the import, whatever its format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from raybench.data.bars import BarBlock
from raybench.data.calendar import Moments, infer_frequency, no_moments, positions
from raybench.data.census import DateRules
from raybench.data.quality import Findings
from raybench.data.universe import Universe


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

    def settled(self, universes: Mapping[str, Universe], rules: DateRules | None) -> Source:
        """The source with the calendar that ``rules`` leave it; ``universes`` are those besides ``all``.

        None: by the rules that hold unless somebody asks for others.
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

    def settled(self, universes: Mapping[str, Universe], rules: DateRules | None) -> MemorySource:
        """The source itself: its calendar is the dates that occur."""
        return self

    @property
    def fields(self) -> tuple[str, ...]:
        return field_order(self.all_bars.fields)

    def block(self, instruments: Sequence[str]) -> BarBlock:
        """The complete bars of these neighbouring instruments; no copy."""
        code_of = {name: code for code, name in enumerate(self.all_bars.instruments)}
        first, last = code_of[instruments[0]], code_of[instruments[-1]]
        assert last - first + 1 == len(instruments)
        edge = self.all_bars.start_N1[first : last + 2]
        return BarBlock(
            instruments=tuple(instruments),
            start_N1=edge - edge[0],
            datetime_R=self.all_bars.datetime_R[edge[0] : edge[-1]],
            fields={f: self.all_bars.fields[f][edge[0] : edge[-1]] for f in self.fields},
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
