"""Which dates of a score table were made from rows that are others by now, and whose.

The rows of today are hashed as those were that the scores came from; no feature is computed, no run is opened.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date

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
    """Compare the rows of today with those that the footers tell of."""
    made = {day: read_made_from(fact.extra, where=date_uri(scores_uri, day)) for day, fact in facts.items()}
    by_reads = _by_reads(made)
    unknown = [day for day, parts in made.items() if not parts or not all(sources.can_tell(p.reads) for p in parts)]
    now = _rehashed(by_reads, sources, progress)
    named = [reads for reads in by_reads if needs_names(reads) and sources.can_tell(reads)]
    names = _instruments(scores_uri, {day for reads in named for day in by_reads[reads]})
    stale: dict[date, list[MadeFrom]] = defaultdict(list)
    for reads, parts in by_reads.items():
        if not sources.can_tell(reads):
            continue
        hashes = now.get(reads)
        for day, part in parts.items():
            if hashes is None or date_hash(hashes, np.datetime64(day, "D"), names.get(day, ())) != part.hash:
                stale[day].append(part)
    return Stale(
        dates=tuple(sorted(stale)),
        changed=_changed(scores_uri, stale, now),
        unknown=tuple(sorted(set(unknown) - set(stale))),
    )


def _by_reads(made: Mapping[date, Sequence[MadeFrom]]) -> dict[Reads, dict[date, MadeFrom]]:
    by_reads: dict[Reads, dict[date, MadeFrom]] = defaultdict(dict)
    for day, parts in made.items():
        for part in parts:
            by_reads[part.reads][day] = part
    return by_reads


def _rehashed(
    by_reads: Mapping[Reads, Mapping[date, MadeFrom]], sources: Sources, progress: Progress
) -> dict[Reads, RowHashes]:
    """Hash the rows of today, of each way of reading those of its days."""
    now: dict[Reads, RowHashes] = {}
    for reads, parts in sorted(by_reads.items(), key=lambda item: item[0].source == CONCEPTS):
        days = np.array(sorted(parts), dtype="datetime64[D]")
        found = None
        if reads.source == FEATURES and sources.features is not None:
            found = hash_table(sources.features, sources.bars, reads, days, progress)
        elif reads.source == CONCEPTS and sources.concepts is not None:
            scored = next((one for one in now.values() if set(days) <= set(one.days)), None)
            found = None if scored is None else concept_hashes(sources.concepts, scored)
        else:
            bars = sources.second if reads.source == SECOND else sources.bars
            found = None if bars is None else hash_bars(bars, reads, days, progress)
        if found is not None:
            now[reads] = found
    return now


def _changed(
    scores_uri: str, stale: Mapping[date, Sequence[MadeFrom]], now: Mapping[Reads, RowHashes]
) -> dict[str, date]:
    """Name the instruments whose rows are others, each with the first stale date on which they are."""
    names = _instruments(scores_uri, stale)
    since: dict[str, date] = {}
    for day in sorted(stale):
        for part in stale[day]:
            hashes = now.get(part.reads)
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
