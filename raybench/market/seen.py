"""What bars were when somebody looked at them, so that later only that is looked at which may be other by now.

T calendar entries, N instruments, R rows. What is remembered is of the size of the metadata: of each instrument where
its rows lie and what their digest is, and the spans of the universes that matter. What changed is told as ranges of
time within which rows, or members, are others. They may be too wide, never too narrow: whoever needs to know exactly
compares within them.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from raybench.columns.types import Moments
from raybench.market.bars import BarBlock, Bars
from raybench.market.calendar import Dates, positions
from raybench.market.digests import added, digests
from raybench.market.universe import ALL

Touch = tuple[np.datetime64, np.datetime64]
"""The first and the last moment of a range."""

Spans = tuple[tuple[str, int, int], ...]
"""Whose, and from when to when, in microseconds; both belong to it."""


class Rows(NamedTuple):
    """Where in the calendar the rows of an instrument lie, how many of NaN trail behind them, and their digest."""

    start: int
    length: int
    trailing: int
    digest: str

    @property
    def stop(self) -> int:
        """The entry behind the last row."""
        return self.start + self.length

    def end(self, behind: int) -> int:
        """The entry behind the last row that is read, trailing ones too, of those before ``behind``."""
        return min(self.stop + self.trailing, behind)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenBars:
    """Bars as they were.

    entries, calendar : how many entries the calendar had, and a hash of them
    rows : of each instrument; None of a dataset that does not say
    universes : name -> the file that said it, and its spans
    """

    fingerprint: str
    fields: tuple[str, ...]
    entries: int
    calendar: str
    rows: Mapping[str, Rows] | None
    universes: Mapping[str, tuple[str, Spans]]

    @classmethod
    def of(cls, bars: Bars, universes: Collection[str]) -> SeenBars:
        """Remember bars, and of their universes these; ``all`` follows from the bars unless it was given."""
        named = sorted(name for name in set(universes) & set(bars.universes) if not _follows(bars, name))
        return cls(
            fingerprint=bars.fingerprint,
            fields=bars.fields,
            entries=len(bars.calendar),
            calendar=_hash(bars.calendar),
            rows=_rows_of(bars),
            universes={name: (bars.metadata.universes[name], _spans_of(bars, name)) for name in named},
        )

    def to_json(self) -> dict[str, Any]:
        """Write it as plain values."""
        return {
            "fingerprint": self.fingerprint,
            "fields": list(self.fields),
            "entries": self.entries,
            "calendar": self.calendar,
            "rows": None if self.rows is None else {name: list(rows) for name, rows in self.rows.items()},
            "universes": {name: [file, list(map(list, spans))] for name, (file, spans) in self.universes.items()},
        }

    @classmethod
    def of_json(cls, said: Any) -> SeenBars:
        """Read what ``to_json`` wrote; ValueError, KeyError or TypeError if it is something else."""
        rows = said["rows"]
        return cls(
            fingerprint=str(said["fingerprint"]),
            fields=tuple(map(str, said["fields"])),
            entries=int(said["entries"]),
            calendar=str(said["calendar"]),
            rows=None if rows is None else {name: Rows(*each) for name, each in rows.items()},
            universes={name: (str(file), spans_of_json(spans)) for name, (file, spans) in said["universes"].items()},
        )

    def touched(self, bars: Bars, restated: Mapping[str, Touch] | None = None) -> tuple[Touch, ...] | None:
        """The ranges within which these bars are others, what is new among them; None if that can be anything.

        ``restated``: where that is known, as of who was the only one to change the bars since: the instruments that
        have another history now, each with the first and the last moment that is another.
        """
        if bars.fingerprint == self.fingerprint:
            return ()
        if not self._same_ground(bars):
            return None
        return joined([*_RowsNow(self, bars, restated).touched(), *self._of_universes(bars)])

    def _same_ground(self, bars: Bars) -> bool:
        """Whether positions in the calendar and digests still speak of the same, and the universes are there."""
        return (
            self.rows is not None
            and bars.metadata.histories is not None
            and bars.fields == self.fields
            and 0 < self.entries <= len(bars.calendar)
            and _hash(bars.calendar[: self.entries]) == self.calendar
            and all(name in bars.universes and not _follows(bars, name) for name in self.universes)
        )

    def _of_universes(self, bars: Bars) -> Iterator[Touch]:
        day = bars.calendar[self.entries - 1].astype("datetime64[D]")
        until = int((day + 1).astype("datetime64[us]").astype(np.int64)) - 1
        there = set(bars.instruments)
        for name, (file, spans) in self.universes.items():
            if bars.metadata.universes[name] != file:
                then, now = (tuple(s for s in each if s[0] in there) for each in (spans, _spans_of(bars, name)))
                yield from moved(then, now, until)


class _RowsNow:
    """The rows of bars against those that they had."""

    def __init__(self, seen: SeenBars, bars: Bars, restated: Mapping[str, Touch] | None) -> None:
        now = _rows_of(bars)
        assert seen.rows is not None, "else nothing can be told"
        assert now is not None, "else nothing can be told"
        self._before, self._now = seen.rows, now
        self._bars, self._calendar_T, self._behind = bars, bars.calendar, seen.entries
        self._restated = restated
        self._places: list[tuple[int, int]] = []

    def touched(self) -> list[Touch]:
        """The ranges of all of them."""
        last = len(self._calendar_T) - 1
        self._note(self._behind, last + 1)  # a date may have scores already, of the rest of its day or of other bars
        grown = {name: rows for name, rows in self._now.items() if self._has_tail(name, rows)}
        for name in self._before.keys() - self._now.keys():
            before = self._before[name]
            self._note(before.start, before.end(self._behind))
        at_edge = [name for name in grown if self._before[name].stop >= self._behind]
        if self._restated is None:
            self._look_at(at_edge, self._behind)
        late = [name for name in grown if self._before[name].stop < self._behind]
        self._look_at(late, min((self._before[name].stop for name in late), default=0))
        found = [(self._calendar_T[first], self._calendar_T[min(stop, last + 1) - 1]) for first, stop in self._places]
        known = () if self._restated is None else self._restated.values()
        return [*found, *known]

    def _note(self, first: int, stop: int) -> None:
        if first < stop:
            self._places.append((first, stop))

    def _has_tail(self, name: str, now: Rows) -> bool:
        """Note what can be told without the rows of an instrument; whether those behind the old ones are to be read."""
        before, behind = self._before.get(name), self._behind
        if before is None:
            self._note(now.start, now.end(behind))
            return False
        known = self._restated is not None and name in self._restated
        if known:
            self._note(min(now.start, before.start), before.start)  # where it began later
        elif (before.start, before.length, before.digest) == (now.start, now.length, now.digest):
            self._note_ends(before, now)
            return False
        elif now.start != before.start or now.length <= before.length:
            self._note_all(before, now)
            return False
        return now.stop > before.stop

    def _note_ends(self, before: Rows, now: Rows) -> None:
        """Rows that are read now and were not, or the other way round."""
        self._note(*sorted((before.end(self._behind), now.end(self._behind))))

    def _note_all(self, before: Rows, now: Rows) -> None:
        self._note(min(before.start, now.start), max(before.end(self._behind), now.end(self._behind)))

    def _look_at(self, names: Sequence[str], start: int) -> None:
        """Read the rows of these behind the old ones, which lie from ``start`` on."""
        fields = self._bars.fields
        for group in self._bars.groups(names) if names else ():
            block = self._bars.block(group, fields, start=self._calendar_T[start])
            at_R = positions(self._calendar_T, block.datetime_R)
            stop_N = np.array([self._before[name].stop for name in block.instruments], np.int64)
            tail = block.where(at_R >= stop_N[block.code_R])
            for i, digest in enumerate(digests(tail, fields)):
                self._note_tail(tail.slice(i), digest)

    def _note_tail(self, tail: BarBlock, digest: str) -> None:
        """Note what one instrument has behind its old rows: of those before ``behind`` what is no row of NaN there."""
        (name,) = tail.instruments
        before, now = self._before[name], self._now[name]
        if self._restated is None and added(before.digest, digest) != now.digest:
            self._note_all(before, now)  # and since when cannot be told
            return
        at_R = positions(self._calendar_T, tail.datetime_R)
        value_R = ~np.logical_and.reduce([np.isnan(value_R) for value_R in tail.fields.values()])
        other_R = at_R[value_R & (at_R < before.end(self._behind))]
        if len(other_R):
            self._note(int(other_R[0]), int(other_R[-1]) + 1)
        self._note_ends(before, now)


def moved(before: Spans, now: Spans, until: int) -> Iterator[Touch]:
    """The ranges up to ``until`` within which the two say something else of somebody."""
    then, today = _up_to(before, until), _up_to(now, until)
    by_key: dict[str, tuple[list[tuple[int, int]], list[tuple[int, int]]]] = defaultdict(lambda: ([], []))
    for side, spans in enumerate((then - today, today - then)):
        for key, first, last in spans:
            by_key[key][side].append((first, last))
    for left, right in by_key.values():
        every = [*left, *right]
        first, last = min(span[0] for span in every), max(span[1] for span in every)
        if len(left) == len(right) == 1 and left[0][0] == right[0][0]:
            first = min(left[0][1], right[0][1])
        elif len(left) == len(right) == 1 and left[0][1] == right[0][1]:
            last = max(left[0][0], right[0][0])
        yield np.datetime64(first, "us"), np.datetime64(last, "us")


def joined(ranges: Iterable[Touch]) -> tuple[Touch, ...]:
    """Ranges in order, those that overlap as one."""
    found: list[Touch] = []
    for first, last in sorted(ranges):
        if found and first <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], last))
        else:
            found.append((first, last))
    return tuple(found)


def days_reached(ranges: Iterable[Touch], calendar_T: Moments, reach: int | None) -> Dates:
    """The days that read something of a range, where each reads ``reach`` entries of the calendar; None: all before."""
    hit_T: NDArray[np.bool_] = np.zeros(len(calendar_T), np.bool_)
    for first, last in ranges:
        begin = int(np.searchsorted(calendar_T, _day(first).astype("datetime64[us]")))
        stop = None if reach is None else int(np.searchsorted(calendar_T, last, side="right")) + reach - 1
        hit_T[begin:stop] = True
    return np.unique(calendar_T[hit_T].astype("datetime64[D]"))


def spans_of_json(said: Iterable[Any]) -> Spans:
    """Spans as JSON has them; ValueError or TypeError if that is something else."""
    return tuple((str(key), int(first), int(last)) for key, first, last in said)


def _up_to(spans: Spans, until: int) -> set[tuple[str, int, int]]:
    return {(key, first, min(last, until)) for key, first, last in spans if first <= until}


def _rows_of(bars: Bars) -> dict[str, Rows] | None:
    known = bars.metadata.histories
    if known is None:
        return None
    each = map(Rows, known.starts, known.counts, known.trailing, known.digests)
    return dict(zip(known.instruments, each, strict=True))


def _follows(bars: Bars, universe: str) -> bool:
    """Whether who is in a universe follows from the rows."""
    return universe == ALL and bars.causal


def _spans_of(bars: Bars, name: str) -> Spans:
    listed = bars.listed(name)
    edges = (
        moment_K.astype("datetime64[us]").astype(np.int64).tolist() for moment_K in (listed.start_K, listed.last_K)
    )
    return tuple(zip(listed.instrument_K, *edges, strict=True))


def _day(when: np.datetime64) -> np.datetime64:
    day: np.datetime64 = when.astype("datetime64[D]")
    return day


def _hash(calendar_T: Moments) -> str:
    return hashlib.sha256(calendar_T.astype("datetime64[us]").tobytes()).hexdigest()[:32]
