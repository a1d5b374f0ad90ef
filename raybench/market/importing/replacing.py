"""What an import would take away from the dataset that is there: an import replaces all of it.

Fewer instruments, dates, rows, bars, values of a field or universes, or another frequency: probably an update was
meant, not the loss of the history. What is lost is named; other values, and more of anything, are not a loss. Two
looks: at what can be told before anything is written, and at the bars themselves, once they have been read.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from raybench.columns.types import Moments
from raybench.errors import DataError
from raybench.market.bars import BarBlock, Bars
from raybench.market.calendar import no_moments
from raybench.market.census import MIN_COVERAGE, Census, has_bar, repeats
from raybench.market.importing.holdings import BARS, Holdings
from raybench.market.quality import EXAMPLES, clock
from raybench.market.sources.source import Source
from raybench.market.universe import ALL, Universe
from raybench.reports.text import numbered

MOST = 0.5  # an instrument that keeps fewer of its bars has lost its history; one that lost some is named


@dataclass(frozen=True, slots=True, kw_only=True)
class Replaced:
    """The dataset that an import replaces.

    calendar : datetime64[us] [T]; none if it is damaged.
    strays : those of it that may go: the import leaves them out, and hardly anybody has a bar on them here either.
    """

    bars: Bars
    calendar: Moments
    strays: Moments

    @classmethod
    def of(cls, bars: Bars, source: Source) -> Replaced:
        """``bars``, to be replaced by ``source``."""
        calendar_T = _calendar(bars)
        left_out = np.intersect1d(calendar_T, source.left_out)
        strays = np.intersect1d(left_out, _hardly_any(bars, calendar_T)) if len(left_out) else left_out
        return cls(bars=bars, calendar=calendar_T, strays=strays)

    def refuse_loss(self, source: Source, universes: Mapping[str, Universe]) -> None:
        """DataError with the numbers if ``source`` has fewer names, dates or rows."""
        lost = list(self._lost(source, universes))
        if lost:
            numbers = {
                "instruments": (len(self.bars.instruments), len(source.spans)),
                "dates": (self.bars.metadata.dates, len(source.calendar)),
                "rows": (self.bars.metadata.rows, _rows(source)),
            }
            raise self._refused(", ".join(f"{name} {was} -> {now}" for name, (was, now) in numbers.items()), lost)

    def refuse_emptied(self, now: Holdings) -> str | None:
        """DataError with the numbers if what was read is empty where there is something.

        Otherwise a line on the instruments that have fewer bars, or values of a field, than before, if any has.
        """
        was = Holdings(without=self.strays)
        for block in _blocks(self.bars):
            was.add(block)
        less = [what for what in was.kinds if now.total(what) < was.total(what)]
        fewer = {what: [n for n, count in was.counts[what].items() if now.of(what, n) < count] for what in was.kinds}
        most = {what: [n for n in names if now.of(what, n) < MOST * was.of(what, n)] for what, names in fewer.items()}
        named = [_named(what, names, was, now, "most of their ") for what, names in most.items() if names]
        named += [_named(what, fewer[what], was, now) for what in less if not most[what]]
        if named and (less or any(most.values())):
            kinds = dict.fromkeys([BARS, *less])
            raise self._refused(
                ", ".join(f"{what} {was.total(what)} -> {now.total(what)}" for what in kinds), named[:1]
            )
        return next((_named(what, names, was, now) for what, names in fewer.items() if names), None)

    def _refused(self, counts: str, lost: Sequence[str]) -> DataError:
        return DataError(
            f"{self.bars.uri}: an import replaces the whole dataset, and this one would leave less than is there: "
            f"{counts} ({'; '.join(lost)}); import the whole history, "
            "add to what is there with --append, or say --replace if that is meant"
        )

    def _lost(self, source: Source, universes: Mapping[str, Universe]) -> Iterator[str]:
        """What there was and will not be, each in a few words."""
        old = self.bars
        if source.frequency != old.frequency:
            yield f"the frequency was {old.frequency}, would be {source.frequency}"
        named = {
            "instrument|instruments": [name for name in old.instruments if name not in source.spans],
            "field|fields": [name for name in old.fields if name not in source.fields],
            "universe|universes": [name for name in old.universes if name not in {*universes, ALL}],
        }
        for what, names in named.items():
            if names:
                yield f"without {numbered(len(names), what)} of it: {_some(names)}"
        dates = np.setdiff1d(self.calendar, np.union1d(source.calendar, self.strays))
        if len(dates):
            some = _some([clock(when) for when in dates[:EXAMPLES]], len(dates))
            yield f"without {numbered(len(dates), 'date|dates')} of it: {some}"
        # a stray date takes a row from each instrument
        if _rows(source) + len(self.strays) * len(old.instruments) < old.metadata.rows:
            yield f"{numbered(old.metadata.rows - _rows(source), 'row|rows')} fewer"
        for name in sorted(set(old.universes) & set(universes) - {ALL}):
            with contextlib.suppress(DataError):  # damaged, and to be replaced
                was, now = len(old.listed(name).instruments), len(universes[name].instruments)
                if now < was:
                    yield f"universe {name} had {numbered(was, 'instrument|instruments')}, would have {now}"


def _named(what: str, names: Sequence[str], was: Holdings, now: Holdings, most: str = "") -> str:
    some = _some([f"{name} {was.of(what, name)} -> {now.of(what, name)}" for name in names])
    things = what if what == BARS else f"values of {what}"
    did = "instrument|instruments loses|lose" if most else "instrument|instruments has|have"
    said = f"{most}{things}" if most else f"fewer {things} than in the dataset before"
    return f"{numbered(len(names), did)} {said}: {some}"


def _hardly_any(bars: Bars, calendar_T: Moments) -> Moments:
    """The moments of a dataset at which nobody has a bar, or on whose dates hardly anybody has."""
    census = Census(calendar_T, {})
    for block in _blocks(bars):
        bar_R = has_bar(block.fields, block.rows)
        at_R = np.searchsorted(calendar_T, block.datetime_R)
        for i, name in enumerate(block.instruments):
            rows = slice(int(block.start_N1[i]), int(block.start_N1[i + 1]))
            one = {field: value_R[rows] for field, value_R in block.fields.items()}
            census.add(name, at_R[rows][bar_R[rows]], repeats(one, bar_R[rows])[bar_R[rows]])
    strays: Moments = calendar_T[(census.bars_T == 0) | census.of_day(census.thin(MIN_COVERAGE) | census.filled())]
    return strays


def _blocks(bars: Bars) -> Iterator[BarBlock]:
    for names in bars.groups():
        with contextlib.suppress(DataError):  # damaged, and to be replaced
            yield bars.block(names)


def _calendar(old: Bars) -> Moments:
    try:
        return old.calendar
    except DataError:  # damaged, and to be replaced
        return no_moments()


def _rows(source: Source) -> int:
    return sum(map(len, source.spans.values()))


def _some(names: Sequence[str], count: int | None = None) -> str:
    return ", ".join(names[:EXAMPLES]) + (", ..." if (count or len(names)) > EXAMPLES else "")
