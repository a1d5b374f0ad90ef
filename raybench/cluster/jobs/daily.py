"""A morning in one command: bars that have come are appended, new dates are scored, and the table is looked at.

It may run every five minutes and twice at once: what is done already is not done again, a second one waits for the
first and looks what is left, and one that was killed leaves whole bars and whole dates, so that the next does the rest.

    SCORES.daily.json     what the last morning saw and left, so that one in which nothing came opens little
    SCORES.looked.json    what the bars were then, so that only what was touched since is looked at: `scoring.looked`
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from raybench.cluster.jobs.daily_inputs import Beside, asked_of, beside_of, fingerprint_of, seen_of
from raybench.config.daily import DailyConfig, DailyImport
from raybench.errors import ResourceError
from raybench.market.bars import Bars, open_bars
from raybench.progress import SILENT, Progress
from raybench.reports.cards import ResultCard
from raybench.storage import files
from raybench.storage.claims import TakenError, held

if TYPE_CHECKING:  # torch, which a morning without news does without
    from raybench.market.importing.append import Appended
    from raybench.market.seen import Touch
    from raybench.scoring.looked import Looked
    from raybench.scoring.result import ScoringResult

WHAT = "daily"
SUFFIX = ".daily.json"
PATIENCE_SECONDS = 240.0  # for another one: less than five minutes, so that of those of a cron job one waits at a time


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class DailyResult(ResultCard):
    """What a morning came to.

    busy: who is at work on it still after ``PATIENCE_SECONDS``: nothing was done, and what is there is not known.
    imported: what was appended, None if nothing had come. scored: what was scored, None if nothing could be new.
    newest: the last date of the table, expected: of the bars, or the last session of the market where that is later.
    stale: dates whose rows were restated and that are as they were; changed: whose rows, by the first of these dates.
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
        """Whether the newest date of the bars has scores, as far as is known."""
        return self.newest is not None and self.expected is not None and self.newest >= self.expected

    def card(self) -> tuple[str, Mapping[str, Any]]:
        """What was done, for a prompt or a notebook."""
        return "busy" if self.busy else "up to date" if self.up_to_date else "not up to date", {
            "dates imported": None if self.imported is None else self.imported.dates,
            "dates scored": None if self.scored is None else len(self.scored.written),
            "newest": self.newest,
            "stale": len(self.stale) or None,
        }


def daily(config: DailyConfig, *, progress: Progress = SILENT) -> DailyResult:
    """Do a morning's work, once nobody else is at it; DataError if something has to be put right first."""
    began = datetime.now(UTC)
    try:
        with held(config.score.to, what=WHAT, patience=PATIENCE_SECONDS, say=progress.note):
            done = _Morning(config, progress).run(datetime.now(UTC))
    except TakenError as taken:  # of the table, or of the bars, into which somebody imports for that long
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
        self.grown = ""  # the fingerprint of the bars that this morning has appended to
        self.notes: list[str] = []
        self.warnings: list[str] = []

    def run(self, began: datetime) -> DailyResult:
        if self.config.market is not None:
            from raybench.market.sessions import check_market

            check_market(self.config.market, "market")
        source = None if self.config.import_ is None else seen_of(self.config.import_)
        beside = Beside.of_json(self.before.get("beside"))
        known = {"source": source, "asked": asked_of(self.config), "beside": beside.to_json(), "others": beside.stamp()}
        imported = None
        changed = fingerprint_of(self.config.bars) != self.before.get("bars")  # or one was killed before it had scored
        if self.config.import_ is not None and (changed or source != self.before.get("source")):
            imported = self._append(self.config.import_)
        bars = open_bars(self.config.bars)
        known["bars"] = bars.fingerprint
        last_date = str(bars.calendar[-1].astype("datetime64[D]"))
        if {name: self.before.get(name) for name in known} == known and self._is_there(last_date):
            return self._nothing_new(self._expected(last_date, began))
        done = self._scored(known, bars, imported, last_date, began)
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
        from raybench.market.importing.append import append_bars, frequency_of
        from raybench.market.sources import open_source
        from raybench.market.sources.days_file import read_days
        from raybench.market.sources.spans_file import read_spans

        frequency = frequency_of(self.config.bars)
        source = open_source(
            given.source,
            given.format,
            columns=given.columns,
            frequency=frequency,
            encoding=given.encoding,
            others=bool(given.universe),
            progress=self.progress,
        )
        rules = None
        if given.calendar is not None or given.min_date_coverage is not None:
            share = MIN_COVERAGE if given.min_date_coverage is None else given.min_date_coverage
            rules = DateRules(min_coverage=share, days=None if given.calendar is None else read_days(given.calendar))
        done = append_bars(
            source,
            self.config.bars,
            universes={name: read_spans(file, name, given.encoding) for name, file in given.universe.items()},
            rules=rules,
            adjust=given.adjust,
            market=self.config.market,
            patience=PATIENCE_SECONDS,
            progress=self.progress,
        )
        self.notes += done.notes
        self.warnings += done.warnings
        self.grown = done.metadata.fingerprint
        return done.appended if done.changed else None

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
        self, known: dict[str, Any], bars: Bars, imported: Appended | None, expected: str, began: datetime
    ) -> DailyResult:
        from raybench.cluster.jobs.scoring import score
        from raybench.scoring.looked import write_looked

        given = self.config.score
        beside, universes = beside_of(given)
        known |= {"beside": beside.to_json(), "others": beside.stamp()}
        start = None if given.start is None else str(given.start)
        scored = score(list(given.model), since_last=True, start=start, **self._options())
        self.warnings += scored.warnings
        looked = self._look(bars, beside, universes, imported, scored)
        stale, changed = tuple(map(str, looked.stale)), {name: str(day) for name, day in looked.changed.items()}
        redone: tuple[str, ...] = ()
        if stale and given.redo_stale:
            again = score(list(given.model), stale=True, start=stale[0], end=stale[-1], **self._options())
            redone, stale = again.written, tuple(day for day in stale if day not in set(again.written))
            self.warnings += again.warnings
        left = set(stale)
        write_looked(self.scores, replace(looked, stale=tuple(day for day in looked.stale if str(day) in left)))
        newest = self._newest(scored, expected)
        note = {**known, "newest": newest, "refused": dict(scored.refused), "stale": list(stale), "changed": changed}
        _write_note(self.scores, note, self.before)
        done = DailyResult(
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
        self._note_job(done, scored, bars, beside, began)
        return done

    def _options(self) -> dict[str, Any]:
        given = self.config.score
        names = ("to", "min_coverage", "combine", "concepts", "second", "local", "trust")
        return {"bars": self.config.bars, "progress": self.progress, **{name: getattr(given, name) for name in names}}

    def _newest(self, scored: ScoringResult, expected: str) -> str | None:
        from raybench.scoring.table import dates

        if expected in scored.written:
            return expected
        if scored.newest is not None:
            return scored.newest[0]
        return max(map(str, dates(self.scores)), default=None)

    def _look(
        self, bars: Bars, beside: Beside, universes: set[str], imported: Appended | None, scored: ScoringResult
    ) -> Looked:
        """The dates whose rows are others, among those that can be since the last look."""
        from datetime import date

        from raybench.market.concepts import open_concepts
        from raybench.scoring.looked import Looked, look_again, read_looked
        from raybench.scoring.stale import Sources

        sources = Sources(
            bars=bars,
            second=None if beside.second is None else open_bars(beside.second),
            concepts=None if beside.concepts is None else open_concepts(beside.concepts),
        )
        before, restated = read_looked(self.scores), None
        if before is not None and imported is not None and self.grown == bars.fingerprint:
            restated = _restated(imported) if imported.before == before.bars.fingerprint else None
        return look_again(
            self.scores,
            before,
            Looked.at(sources, universes),
            sources,
            restated=restated,
            fresh=[date.fromisoformat(day) for day in scored.written],
            progress=self.progress,
        )

    def _note_job(self, done: DailyResult, scored: ScoringResult, bars: Bars, beside: Beside, began: datetime) -> None:
        """Leave a line beside the table, if anything was changed."""
        from raybench.scoring.audit import note_job

        added = done.imported
        if not ((added is not None and (added.rows or added.changed)) or scored.written or done.redone):
            return
        inputs = {
            "models": list(self.config.score.model),
            "bars": bars.uri,
            "bars_fingerprint": bars.fingerprint,
            "source": None if self.config.import_ is None else self.config.import_.source,
            **beside.to_json(),
        }
        facts = {
            "run_id": scored.run_id,
            "inputs": {name: value for name, value in inputs.items() if value is not None},
            "imported": None if added is None else _said(added),
            "written": list(scored.written),
            "redone": list(done.redone),
            "stale": list(done.stale),
            "refused": sorted(scored.refused),
        }
        note_job(self.scores, WHAT, began, facts)


def _restated(imported: Appended) -> dict[str, Touch]:
    """Whose history is another now, each from its first moment that is up to the last."""
    import numpy as np

    from raybench.market.bars_metadata import moment_of

    second = np.timedelta64(999_999, "us")  # they are written without a fraction of it
    return {
        name: (moment_of(when), moment_of(imported.until[name]) + second) for name, when in imported.changed.items()
    }


def _said(imported: Appended) -> dict[str, Any]:
    return {
        "dates": imported.dates,
        "first": imported.first,
        "last": imported.last,
        "rows": imported.rows,
        "changed": dict(imported.changed),
    }


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
