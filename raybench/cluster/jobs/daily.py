"""A morning in one command: bars that have come are appended, new dates are scored, and the table is looked at.

It may run every five minutes and twice at once: what is done already is not done again, a second one leaves at once,
and one that was killed leaves whole bars and whole dates, so that the next does the rest.

    SCORES.daily.json    what the last morning saw and left, so that one in which nothing came opens little
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from raybench.config.daily import DailyConfig, DailyImport
from raybench.errors import ResourceError
from raybench.market.bars import open_bars
from raybench.progress import SILENT, Progress
from raybench.reports.cards import ResultCard
from raybench.storage import files
from raybench.storage.claims import TakenError, held
from raybench.storage.places import METADATA

if TYPE_CHECKING:  # torch, which a morning without news does without
    from raybench.market.importing.append import Appended
    from raybench.scoring.result import ScoringResult

WHAT = "daily"
SUFFIX = ".daily.json"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class DailyResult(ResultCard):
    """What a morning came to.

    busy: who is at work on it, and nothing was done. imported: what was appended, None if nothing had come. scored:
    what was scored, None if nothing could be new. newest: the last date of the table, expected: of the bars, or the
    last session of the market where that is later. stale:
    dates whose rows were restated and that are as they were; changed: whose rows, by the first of these dates.
    """

    busy: str | None = None
    imported: Appended | None = None
    scored: ScoringResult | None = None
    newest: str | None = None
    expected: str | None = None
    refused: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    stale: tuple[str, ...] = ()
    changed: Mapping[str, str] = field(default_factory=dict)
    redone: tuple[str, ...] = ()
    seconds: float = 0.0
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def newest_refused(self) -> bool:
        """Whether the newest date of the bars was refused for its coverage."""
        return self.expected in self.refused

    @property
    def up_to_date(self) -> bool:
        """Whether the newest date of the bars has scores."""
        return self.busy is not None or (self.newest is not None and self.newest == self.expected)

    def card(self) -> tuple[str, Mapping[str, Any]]:
        """What was done, for a prompt or a notebook."""
        return "busy" if self.busy else "up to date" if self.up_to_date else "not up to date", {
            "dates imported": None if self.imported is None else self.imported.dates,
            "dates scored": None if self.scored is None else len(self.scored.written),
            "newest": self.newest,
            "stale": len(self.stale) or None,
        }


def daily(config: DailyConfig, *, progress: Progress = SILENT) -> DailyResult:
    """Do a morning's work; DataError if something has to be put right first."""
    began = datetime.now(UTC)
    try:
        with held(config.score.to, what=WHAT):
            done = _Morning(config, progress).run(began)
    except TakenError as taken:
        done = DailyResult(busy=str(taken))
    else:
        _show(config.score.to, done, progress)
    return replace(done, seconds=(datetime.now(UTC) - began).total_seconds())


def _show(to: str, done: DailyResult, progress: Progress) -> None:
    """Let the metrics of the cluster that is named say how far the table is, on a morning without news too."""
    if os.environ.get("RAY_ADDRESS", "").strip() in ("", "local"):
        return
    from raybench.cluster.exported import show_scores
    from raybench.cluster.session import session

    try:
        with session(progress=progress):
            show_scores(files.open_location(to).uri, last=done.newest, refused=len(done.refused))
    except ResourceError as error:  # the scores are there all the same
        progress.note(f"no metrics: {error}")


class _Morning:
    """One morning, of which this process has the table."""

    def __init__(self, config: DailyConfig, progress: Progress) -> None:
        self.config, self.progress = config, progress
        self.scores = files.open_location(config.score.to).uri
        self.before = _read_note(self.scores)
        self.notes: list[str] = []
        self.warnings: list[str] = []

    def run(self, began: datetime) -> DailyResult:
        if self.config.market is not None:
            from raybench.market.sessions import check_market

            check_market(self.config.market, "market")
        source = None if self.config.import_ is None else _seen(self.config.import_)
        asked = _asked(self.config)
        last = _fingerprint(self.config.bars)
        interrupted = last != self.before.get("bars")  # or somebody else has imported since
        imported = None
        if self.config.import_ is not None and (interrupted or source != self.before.get("source")):
            imported = self._append(self.config.import_)
        bars = open_bars(self.config.bars)
        last_date = str(bars.calendar[-1].astype("datetime64[D]"))
        known = {"source": source, "bars": bars.fingerprint, "asked": asked}
        if {name: self.before.get(name) for name in known} == known and self._is_there(last_date):
            return self._nothing_new(self._expected(last_date, began))
        done = self._scored(known, imported, last_date, began, everything=interrupted and bool(self.before))
        return replace(done, expected=self._expected(last_date, began))

    def _expected(self, last_date: str, began: datetime) -> str:
        """The newest date that should have scores: of the bars, or of the exchange."""
        if self.config.market is None:
            return last_date
        from raybench.market.sessions import last_closed

        session = last_closed(self.config.market, began)
        return last_date if session is None else max(last_date, str(session))

    def _append(self, given: DailyImport) -> Appended | None:
        from raybench.market.census import MIN_COVERAGE, DateRules
        from raybench.market.importing.append import AppendResult, append_bars, frequency_of
        from raybench.market.sources import open_source
        from raybench.market.sources.days_file import read_days
        from raybench.market.sources.spans_file import read_spans

        frequency = frequency_of(self.config.bars)
        source = open_source(
            given.source, given.format, columns=given.columns, frequency=frequency, progress=self.progress
        )
        rules = None
        if given.calendar is not None or given.min_date_coverage is not None:
            share = MIN_COVERAGE if given.min_date_coverage is None else given.min_date_coverage
            rules = DateRules(min_coverage=share, days=None if given.calendar is None else read_days(given.calendar))
        done = append_bars(
            source,
            self.config.bars,
            universes={name: read_spans(file, name) for name, file in given.universe.items()},
            rules=rules,
            adjust=given.adjust,
            market=self.config.market,
            progress=self.progress,
        )
        self.notes += done.notes
        self.warnings += done.warnings
        return done.appended if isinstance(done, AppendResult) else None

    def _is_there(self, day: str) -> bool:
        from raybench.scoring.table import date_uri

        return day in self.before.get("refused", {}) or files.exists(date_uri(self.scores, day))

    def _nothing_new(self, expected: str) -> DailyResult:
        """Say what the last morning left."""
        return DailyResult(
            newest=self.before.get("newest"),
            expected=expected,
            refused=self.before.get("refused", {}),
            stale=tuple(self.before.get("stale", ())),
            changed=self.before.get("changed", {}),
        )

    def _scored(
        self, known: dict[str, Any], imported: Appended | None, expected: str, began: datetime, *, everything: bool
    ) -> DailyResult:
        from raybench.cluster.jobs.scoring import score
        from raybench.scoring.audit import note_job

        given = self.config.score
        options: dict[str, Any] = {
            "bars": self.config.bars,
            "to": given.to,
            "min_coverage": given.min_coverage,
            "combine": given.combine,
            "concepts": given.concepts,
            "second": given.second,
            "local": given.local,
            "trust": given.trust,
            "progress": self.progress,
        }
        start = None if given.start is None else str(given.start)
        scored = score(list(given.model), since_last=True, start=start, **options)
        self.warnings += scored.warnings
        stale, changed = self._stale(imported, everything=everything)
        redone: tuple[str, ...] = ()
        if stale and given.redo_stale:
            again = score(list(given.model), stale=True, start=stale[0], end=stale[-1], **options)
            redone, stale = again.written, tuple(day for day in stale if day not in set(again.written))
            self.warnings += again.warnings
        newest = self._newest(scored, expected)
        note = {**known, "newest": newest, "refused": dict(scored.refused), "stale": list(stale), "changed": changed}
        _write_note(self.scores, note, self.before)
        if (imported is not None and (imported.rows or imported.changed)) or scored.written or redone:
            facts = {"imported": None if imported is None else _said(imported), "written": list(scored.written)}
            note_job(self.scores, WHAT, began, {**facts, "redone": list(redone), "stale": list(stale)})
        return DailyResult(
            imported=imported,
            scored=scored,
            newest=newest,
            expected=expected,
            refused=scored.refused,
            stale=stale,
            changed=changed,
            redone=redone,
            warnings=tuple(dict.fromkeys(self.warnings)),
            notes=tuple(self.notes),
        )

    def _newest(self, scored: ScoringResult, expected: str) -> str | None:
        from raybench.scoring.table import dates

        if expected in scored.written:
            return expected
        if scored.newest is not None:
            return scored.newest[0]
        return max(map(str, dates(self.scores)), default=None)

    def _stale(self, imported: Appended | None, *, everything: bool) -> tuple[tuple[str, ...], dict[str, str]]:
        """The dates whose rows are others: of those that were not redone before, and since what has changed now."""
        from raybench.scoring.status import status

        since = [str(when)[:10] for when in ({} if imported is None else imported.changed).values()]
        since += self.before.get("stale", ())[:1]
        if not since and not everything:
            return (), {}
        found = status(
            self.scores,
            bars=self.config.bars,
            second=self.config.score.second,
            concepts=self.config.score.concepts,
            start=None if everything else date.fromisoformat(min(since)),
            progress=self.progress,
        ).stale
        assert found is not None, "there are bars"
        return tuple(map(str, found.dates)), {name: str(day) for name, day in found.changed.items()}


def _said(imported: Appended) -> dict[str, Any]:
    return {
        "dates": imported.dates,
        "first": imported.first,
        "last": imported.last,
        "rows": imported.rows,
        "changed": dict(imported.changed),
    }


def _seen(given: DailyImport) -> str:
    """A hash of what there is to import, by names, sizes and times: nothing is read."""
    places = [given.source, *given.universe.values(), *([given.calendar] if given.calendar else [])]
    found = [[place, sorted(files.stamps(place).items())] for place in places]
    return _hash([found, given.model_dump(mode="json", by_alias=True)])


def _asked(config: DailyConfig) -> str:
    """A hash of how to score, and with which runs."""
    runs = [files.read_if_there(files.join(model, "manifest.json")) for model in config.score.model]
    hashes = [None if run is None else hashlib.sha256(run).hexdigest() for run in runs]
    return _hash([config.score.model_dump(mode="json", by_alias=True), hashes])


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:32]


def _fingerprint(bars: str) -> str | None:
    return open_bars(bars).fingerprint if files.exists(files.join(bars, METADATA)) else None


def _read_note(scores: str) -> dict[str, Any]:
    """What the last morning left; nothing if that cannot be told."""
    data = files.read_if_there(files.sibling(scores, SUFFIX))
    try:
        note = json.loads(data or b"{}")
    except ValueError:
        return {}
    return note if isinstance(note, dict) else {}


def _write_note(scores: str, note: Mapping[str, Any], before: Mapping[str, Any]) -> None:
    if note != before:
        text = json.dumps(note, indent=1, sort_keys=True) + "\n"
        files.publish_bytes(files.sibling(scores, SUFFIX), text.encode(), staging=files.sibling(scores, ".staging"))
