"""How a score table stands: which dates are there, which are missing, refused, of other runs, or stale.

Whether the newest date that the data have is there is what a morning's job is asked for.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

import numpy as np

from raybench.errors import DataError
from raybench.feature_sets.table import open_features
from raybench.market.bars import open_bars
from raybench.market.concepts import open_concepts
from raybench.market.sessions import last_closed
from raybench.market.universe import ALL
from raybench.progress import SILENT, Progress
from raybench.reports.cards import ResultCard
from raybench.scoring.made_from import read_made_from
from raybench.scoring.planning import count_members
from raybench.scoring.refused import is_begun, read_refused
from raybench.scoring.stale import Sources, Stale, find_stale
from raybench.scoring.table import DateFacts, date_uri, dates, nothing_in, scored_dates
from raybench.storage import files
from raybench.storage.places import Kind, what_is


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Status(ResultCard):
    """What is known of a score table.

    facts: of each date looked at, in order. newest: the last date, and ``age_days`` how long ago that was.
    expected: the last date of the data, or the last session of the market if that is later; None without either.
    missing: dates of the data, and later sessions, behind the first scored one that are not there and were not
    refused. surplus: dates of the table that the data do not have, any more. refused: dates that were not published,
    with why. run_id: the run of the newest date, others: dates by the other runs. members: of the universe by date, by
    the bars where they are given, else as it was known when the date was scored. stale: see ``scoring.stale``; None
    without data.
    """

    scores: str
    facts: Mapping[date, DateFacts]
    newest: date | None
    age_days: int | None
    expected: date | None = None
    missing: tuple[date, ...] = ()
    surplus: tuple[date, ...] = ()
    refused: Mapping[date, Mapping[str, Any]] = field(default_factory=dict)
    run_id: str | None = None
    others: Mapping[str, int] = field(default_factory=dict)
    members: Mapping[date, int] = field(default_factory=dict)
    stale: Stale | None = None

    @property
    def whole(self) -> bool:
        """Whether the newest date that is expected is there; without data, whether any is."""
        if self.newest is None:
            return False
        return self.expected is None or self.newest >= self.expected

    def card(self) -> tuple[str, Mapping[str, Any]]:
        """How it stands, for a prompt or a notebook."""
        stale = self.stale
        return f"{self.scores}: {'up to date' if self.whole else 'not up to date'}", {
            "dates": len(self.facts),
            "newest": None if self.newest is None else str(self.newest),
            "expected": None if self.expected is None else str(self.expected),
            "missing": len(self.missing) or None,
            "not in the data": len(self.surplus) or None,
            "refused": len(self.refused) or None,
            "by other runs": sum(self.others.values()) or None,
            "stale": (len(stale.dates) or None) if stale is not None else None,
        }


def status(
    scores: str,
    *,
    bars: str | None = None,
    features: str | None = None,
    second: str | None = None,
    concepts: str | None = None,
    start: date | None = None,
    end: date | None = None,
    market: str | None = None,
    now: datetime | None = None,
    progress: Progress = SILENT,
) -> Status:
    """Look at a score table, and with the ``bars`` or ``features`` it was made from at what it should hold.

    ``second`` and ``concepts``: what the second window and the network of the run read, where they do. ``start`` and
    ``end`` bound what is looked at; the newest date is that of the whole table. ``market``: an exchange whose newest
    session that has closed by ``now`` should be there, whether the data have it or not. DataError if there is no table.
    """
    uri = files.open_location(scores).uri
    noted, every = read_refused(uri), dates(uri)
    refused = {day: facts for day, facts in noted.items() if not is_begun(facts)}
    if not every and not noted:
        raise DataError(_nothing(uri))
    sources = Sources(
        bars=None if bars is None else open_bars(bars),
        features=None if features is None else open_features(features).settled(),
        second=None if second is None else open_bars(second),
        concepts=None if concepts is None else open_concepts(concepts),
    )
    now = now or datetime.now(UTC)
    days = sources.days
    calendar = _with_session(days, None if market is None else last_closed(market, now))
    chosen = [day for day in every if (start or date.min) <= day <= (end or date.max)]
    facts = scored_dates(uri, only=chosen)
    newest = every[-1] if every else None
    run_id = None
    if newest is not None:
        run_id = facts[newest].run_id if newest in facts else scored_dates(uri, only=[newest])[newest].run_id
    known = days is not None or sources.second is not None
    return Status(
        scores=uri,
        facts=facts,
        newest=newest,
        age_days=None if newest is None else (now.astimezone().date() - newest).days,
        expected=None if calendar is None else calendar[-1],
        missing=_missing(calendar, every, refused, min([*every, *noted]), start, end),
        refused={day: facts for day, facts in sorted(refused.items()) if day not in set(every)},
        surplus=() if days is None else tuple(sorted(set(chosen) - set(days))),
        run_id=run_id,
        members=_members(uri, facts, sources),
        others=Counter(fact.run_id for fact in facts.values() if fact.run_id != run_id),
        stale=find_stale(uri, facts, sources, progress) if known else None,
    )


def _members(uri: str, facts: Mapping[date, DateFacts], sources: Sources) -> dict[date, int]:
    """Count the universe's members on each date: by the bars, if they have it, else as its footer says."""
    then = {day: fact.extra.get("members") for day, fact in facts.items()}
    found = {day: int(count) for day, count in then.items() if isinstance(count, int)}
    bars = sources.bars
    if bars is None:
        return found
    by_universe: dict[str, list[date]] = defaultdict(list)
    for day, fact in facts.items():
        parts = read_made_from(fact.extra, where=date_uri(uri, day))
        for name in {part.reads.universe for part in parts} & set(bars.universes):
            by_universe[name].append(day)
    for name, days in by_universe.items():
        ends = name == ALL and not bars.causal
        counts = count_members(bars.listed(name), np.array(days, "datetime64[D]"), bars.calendar, to_last_bar=ends)
        found |= {date.fromisoformat(day): count for day, count in counts.items()}
    return found


def _with_session(days: list[date] | None, session: date | None) -> list[date] | None:
    """The dates that should be there: those of the data, and a newer session of the market."""
    if session is None or (days and days[-1] >= session):
        return days
    return [*(days or []), session]


def _missing(
    calendar: Sequence[date] | None,
    every: Sequence[date],
    refused: Mapping[date, Any],
    first: date,
    start: date | None,
    end: date | None,
) -> tuple[date, ...]:
    if calendar is None:
        return ()
    there = {*every, *refused}
    first = max(start or date.min, first)
    return tuple(day for day in calendar if first <= day <= (end or date.max) and day not in there)


def _nothing(uri: str) -> str:
    found = what_is(uri)
    if found is Kind.SCORES:
        return nothing_in(uri)
    if found is Kind.NOTHING:
        return f"{uri}: there are no scores here; want the --to of `raybench score`"
    verb = "is" if found is Kind.FILE else "holds"
    return f"{uri}: {verb} {found.value}; want a score table, the --to of `raybench score`"
