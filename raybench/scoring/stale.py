"""Which dates of a score table were made from rows that are others by now, and whose.

The rows of today are hashed as those were that the scores came from; no feature is computed, no run is opened.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from typing import NamedTuple

import numpy as np

from raybench.feature_sets.table import FeatureTable
from raybench.market.bars import Bars
from raybench.market.concepts import Concepts
from raybench.market.universe import ALL
from raybench.panel.rehashing import hash_bars, hash_table
from raybench.panel.row_hashes import CONCEPTS, FEATURES, SECOND, Reads, RowHashes, concept_hashes
from raybench.progress import SILENT, Progress
from raybench.scoring.made_from import MadeFrom, date_hash, made_from, needs_names, read_made_from
from raybench.scoring.table import DateFacts, date_uri
from raybench.storage import parquet
from raybench.storage.whole import READERS


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What scores were made from, as far as it is at hand."""

    bars: Bars | None = None
    features: FeatureTable | None = None
    second: Bars | None = None
    concepts: Concepts | None = None

    @property
    def days(self) -> list[date] | None:
        """The dates that could be scored, ascending; None without bars or features."""
        if self.bars is not None:
            calendar = self.bars.calendar
        elif self.features is not None:
            calendar = self.features.dates()
        else:
            return None
        days: list[date] = np.unique(calendar.astype("datetime64[D]")).tolist()
        return days

    def can_tell(self, reads: Reads) -> bool:
        """Whether there is a source to compare with."""
        if reads.source == CONCEPTS:
            return self.concepts is not None and (self.bars is not None or self.features is not None)
        if reads.source == FEATURES:
            return self.features is not None and (self.bars is not None or reads.universe == ALL)
        return (self.second if reads.source == SECOND else self.bars) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stale:
    """The dates whose rows are others, in order; who changed, each with the first of these dates.

    Nobody is named for what has no score: one that left the universe within the window, and that others were compared
    with. unknown: dates of which nothing can be told, for they were scored before hashes were kept, or from something
    that is not at hand.
    """

    dates: tuple[date, ...] = ()
    changed: Mapping[str, date] = field(default_factory=dict)
    unknown: tuple[date, ...] = ()


def find_stale(
    scores_uri: str, facts: Mapping[date, DateFacts], sources: Sources, progress: Progress = SILENT
) -> Stale:
    """Compare the rows of today with those that the footers tell of.

    A date that the data do not have any more is none of these: nothing can be scored on it again.
    """
    known = None if sources.days is None else set(sources.days)
    facts = {day: fact for day, fact in facts.items() if known is None or day in known}
    made = {day: read_made_from(fact.extra, where=date_uri(scores_uri, day)) for day, fact in facts.items()}
    by_way = _by_way(made)
    unknown = [day for day, parts in made.items() if not parts or not all(sources.can_tell(p.reads) for p in parts)]
    now = _rehashed(by_way, sources, progress)
    named = [way for way in by_way if needs_names(way.reads) and _can_tell(sources, way)]
    names = _instruments(scores_uri, {day for way in named for day in by_way[way]})
    stale: dict[date, list[tuple[_Way, MadeFrom]]] = defaultdict(list)
    for way, parts in by_way.items():
        if not _can_tell(sources, way):
            continue
        hashes = now.get(way)
        for day, part in parts.items():
            if hashes is None or date_hash(hashes, np.datetime64(day, "D"), names.get(day, ())) != part.hash:
                stale[day].append((way, part))
    return Stale(
        dates=tuple(sorted(stale)),
        changed=_changed(scores_uri, stale, now),
        unknown=tuple(sorted(set(unknown) - set(stale))),
    )


class _Way(NamedTuple):
    """A way of reading; ``beside``: of concepts, how the rows are read that say whose concepts count."""

    reads: Reads
    beside: Reads | None = None


def _can_tell(sources: Sources, way: _Way) -> bool:
    """Whether there is a source to compare with, and of concepts the rows that say whose count."""
    if way.reads.source == CONCEPTS and (way.beside is None or not sources.can_tell(way.beside)):
        return False
    return sources.can_tell(way.reads)


def _by_way(made: Mapping[date, Sequence[MadeFrom]]) -> dict[_Way, dict[date, MadeFrom]]:
    by_way: dict[_Way, dict[date, MadeFrom]] = defaultdict(dict)
    for day, parts in made.items():
        rows = next((part.reads for part in parts if not needs_names(part.reads)), None)
        for part in parts:
            by_way[_Way(part.reads, rows if part.reads.source == CONCEPTS else None)][day] = part
    return by_way


def _rehashed(
    by_way: Mapping[_Way, Mapping[date, MadeFrom]], sources: Sources, progress: Progress
) -> dict[_Way, RowHashes]:
    """Hash the rows of today, of each way of reading those of its days."""
    now: dict[_Way, RowHashes] = {}
    for way, parts in sorted(by_way.items(), key=lambda item: item[0].reads.source == CONCEPTS):
        reads, days = way.reads, np.array(sorted(parts), dtype="datetime64[D]")
        found = None
        if reads.source == FEATURES and sources.features is not None:
            found = hash_table(sources.features, sources.bars, reads, days, progress)
        elif reads.source == CONCEPTS and sources.concepts is not None:
            scored = None if way.beside is None else now.get(_Way(way.beside))
            found = None if scored is None else concept_hashes(sources.concepts, scored)
        else:
            bars = sources.second if reads.source == SECOND else sources.bars
            found = None if bars is None else hash_bars(bars, reads, days, progress)
        if found is not None:
            now[way] = found
    return now


def _changed(
    scores_uri: str, stale: Mapping[date, Sequence[tuple[_Way, MadeFrom]]], now: Mapping[_Way, RowHashes]
) -> dict[str, date]:
    """Name the instruments whose rows are others, each with the first stale date on which they are."""
    names = _instruments(scores_uri, stale)
    since: dict[str, date] = {}
    for day in sorted(stale):
        for way, part in stale[day]:
            hashes = now.get(way)
            for name in () if hashes is None else _others(hashes, part, np.datetime64(day, "D"), names[day]):
                since.setdefault(name, day)
    return dict(sorted(since.items(), key=lambda item: (item[1], item[0])))


def _others(hashes: RowHashes, part: MadeFrom, day: np.datetime64, names: Sequence[str]) -> Iterator[str]:
    """Those of a file, or who would be in it now, whose rows are others."""
    then = dict(zip(names, part.short_N.tolist(), strict=False))
    today = made_from(hashes, day, names)
    yield from (name for name, short in zip(names, today.short_N.tolist(), strict=True) if short != then.get(name))
    known, _, scored_N = hashes.of(day)
    if not needs_names(part.reads):
        yield from (name for name, scored in zip(known, scored_N, strict=True) if scored and name not in then)


def _instruments(scores_uri: str, days: Iterable[date]) -> dict[date, list[str]]:
    """The instruments of the files of some days, ascending."""

    def read(day: date) -> list[str]:
        return sorted(set(parquet.read_table(date_uri(scores_uri, day), ["instrument"])["instrument"].to_pylist()))

    wanted = sorted(days)
    with ThreadPoolExecutor(READERS) as pool:
        return dict(zip(wanted, pool.map(read, wanted), strict=True))
