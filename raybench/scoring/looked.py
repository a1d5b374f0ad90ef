"""What a score table was made from as it was when stale dates were last looked for, so that the next look is at what
has been touched since and at nothing else.

    SCORES.looked.json

The dates that can have become stale are those from the first row that is another up to as many entries of the calendar
behind the last one as scores read. Of these the hashes decide, see ``stale``.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date

import numpy as np

from raybench.market.bars import Bars
from raybench.market.calendar import no_dates
from raybench.market.concepts import Concepts
from raybench.market.seen import SeenBars, Spans, Touch, days_reached, joined, moved, spans_of_json
from raybench.panel.row_hashes import BARS, FEATURES
from raybench.progress import SILENT, Progress
from raybench.scoring.made_from import read_made_from
from raybench.scoring.planning import Dates, apart
from raybench.scoring.stale import Sources, Stale, find_stale
from raybench.scoring.table import DateFacts, date_uri, dates, facts_if_there, scored_dates
from raybench.storage import files

SUFFIX = ".looked.json"
VERSION = 1
PROBES = 64  # dates that are asked for one by one: the table is not listed for so few
ALL = -1  # entries that a date reads: however many there are


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What was there at the last look.

    second, concepts : what else the network reads, None if it does not; concepts by hash and spans
    reach : entries of the calendar that a date of the table reads, at most; ``ALL``
    stale : the dates that were stale then, and since when who was another
    """

    bars: SeenBars
    second: SeenBars | None = None
    concepts: tuple[str, Spans] | None = None
    reach: int = 0
    stale: tuple[date, ...] = ()
    changed: Mapping[str, date] = field(default_factory=dict)

    @classmethod
    def at(cls, sources: Sources, universes: Collection[str]) -> Looked:
        """The sources of now; ``universes``: those whose members are scored."""
        assert sources.bars is not None, "a morning has bars"
        second, concepts = sources.second, sources.concepts
        return cls(
            bars=SeenBars.of(sources.bars, universes),
            second=None if second is None else SeenBars.of(second, universes),
            concepts=None if concepts is None else (concepts.fingerprint, _spans_of(concepts)),
        )

    def to_json(self) -> bytes:
        """Write it as the file has it."""
        said = {
            "version": VERSION,
            "bars": self.bars.to_json(),
            "second": None if self.second is None else self.second.to_json(),
            "concepts": self.concepts,
            "reach": self.reach,
            "stale": [str(day) for day in self.stale],
            "changed": {name: str(day) for name, day in self.changed.items()},
        }
        return (json.dumps(said, separators=(",", ":")) + "\n").encode()

    @classmethod
    def of_json(cls, data: bytes) -> Looked | None:
        """Read what ``to_json`` wrote; None if it is something else, as after another version."""
        try:
            said = json.loads(data)
            if said["version"] != VERSION:
                return None
            second, concepts = said["second"], said["concepts"]
            return cls(
                bars=SeenBars.of_json(said["bars"]),
                second=None if second is None else SeenBars.of_json(second),
                concepts=None if concepts is None else (str(concepts[0]), spans_of_json(concepts[1])),
                reach=int(said["reach"]),
                stale=tuple(map(date.fromisoformat, said["stale"])),
                changed={name: date.fromisoformat(day) for name, day in said["changed"].items()},
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None


def read_looked(scores_uri: str) -> Looked | None:
    """What was there at the last look; None if nobody looked yet."""
    data = files.read_if_there(files.sibling(scores_uri, SUFFIX))
    return None if data is None else Looked.of_json(data)


def write_looked(scores_uri: str, looked: Looked) -> None:
    """Remember a look."""
    file, staging = files.sibling(scores_uri, SUFFIX), files.sibling(scores_uri, ".staging")
    files.publish_bytes(file, looked.to_json(), staging=staging)


def look_again(
    scores_uri: str,
    before: Looked | None,
    now: Looked,
    sources: Sources,
    *,
    restated: Mapping[str, Touch] | None = None,
    fresh: Collection[date] = (),
    progress: Progress = SILENT,
) -> Looked:
    """Look for stale dates among those that can have become so since ``before``, of all if that is None.

    ``now``: what ``sources`` are. ``restated``: see ``SeenBars.touched``. ``fresh``: dates that were scored just now.
    """
    chosen = None if before is None else _touched(before, now, sources, restated)
    if chosen is None:
        facts = scored_dates(scores_uri, only=[day for day in dates(scores_uri) if day not in set(fresh)])
    else:
        assert before is not None, "else all are looked at"
        facts = _facts_of(scores_uri, {*chosen.tolist(), *before.stale} - set(fresh))
    reach = [0 if before is None else before.reach, *_reaches(scores_uri, facts)]
    if fresh:
        reach += _reaches(scores_uri, facts_if_there(scores_uri, [max(fresh)]))
    reached = ALL if ALL in reach else max(reach)
    found = _stale(scores_uri, facts, sources, reached, progress)
    return replace(now, reach=reached, stale=found.dates, changed=found.changed)


def _touched(before: Looked, now: Looked, sources: Sources, restated: Mapping[str, Touch] | None) -> Dates | None:
    """The days that what is other by now can have touched; None if that can be any."""
    assert sources.bars is not None, "a morning has bars"
    calendar, reach = sources.bars.calendar, None if before.reach in (ALL, 0) else before.reach
    in_bars = before.bars.touched(sources.bars, restated)
    in_second = _in_second(before.second, now.second, sources.second)
    in_concepts = _in_concepts(before.concepts, now.concepts)
    if in_bars is None or in_second is None or in_concepts is None:
        return None
    days = [
        days_reached(in_bars, calendar, reach),
        days_reached(in_second, calendar, None),  # its own calendar says how far it is looked back on
        days_reached(in_concepts, calendar, 1),
    ]
    return np.unique(np.concatenate([no_dates(), *days]))


def _in_second(before: SeenBars | None, now: SeenBars | None, bars: Bars | None) -> tuple[Touch, ...] | None:
    if before is None or now is None or bars is None:
        return () if now is None else None
    return before.touched(bars)


def _in_concepts(before: tuple[str, Spans] | None, now: tuple[str, Spans] | None) -> tuple[Touch, ...] | None:
    if before is None or now is None:
        return () if now is None else None
    if before[0] == now[0]:
        return ()
    return joined(moved(before[1], now[1], until=max(last for _, _, last in (*before[1], *now[1]))))


def _facts_of(scores_uri: str, days: Collection[date]) -> dict[date, DateFacts]:
    """Those of some days that are there."""
    if len(days) <= PROBES:
        return facts_if_there(scores_uri, sorted(days))
    return scored_dates(scores_uri, only=set(dates(scores_uri)).intersection(days))


def _reaches(scores_uri: str, facts: Mapping[date, DateFacts]) -> Iterable[int]:
    """How many entries of the calendar some dates read."""
    for day, fact in facts.items():
        for part in read_made_from(fact.extra, where=date_uri(scores_uri, day)):
            if part.reads.source in (BARS, FEATURES):
                yield part.reads.window + part.reads.lookback if part.reads.window else ALL


def _stale(scores_uri: str, facts: Mapping[date, DateFacts], sources: Sources, reach: int, progress: Progress) -> Stale:
    """Compare; days that are far apart one after the other, so that what lies between them is not read."""
    assert sources.bars is not None, "a morning has bars"
    days, calendar = np.array(sorted(facts), "datetime64[D]"), sources.bars.calendar
    parts = apart(days, calendar, len(calendar) if reach == ALL else reach)
    found = [find_stale(scores_uri, {day: facts[day] for day in part.tolist()}, sources, progress) for part in parts]
    changed: dict[str, date] = {}
    for one in found:
        changed = {**one.changed, **changed}
    return Stale(
        dates=tuple(day for one in found for day in one.dates),
        changed=dict(sorted(changed.items(), key=lambda item: (item[1], item[0]))),
        unknown=tuple(day for one in found for day in one.unknown),
    )


def _spans_of(concepts: Concepts) -> Spans:
    """Whose concepts are when, the instrument and the concept as one key."""
    moments = (concepts.start_S, concepts.last_S)
    edges = (moment_S.astype("datetime64[us]").astype(np.int64).tolist() for moment_S in moments)
    pairs = zip(concepts.instrument_S.tolist(), concepts.concept_S.tolist(), strict=True)
    keys = [f"{concepts.instruments[i]}\t{concepts.names[k]}" for i, k in pairs]
    return tuple(zip(keys, *edges, strict=True))
