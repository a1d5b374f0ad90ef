"""Adding to a bars dataset: new dates, instruments and spans, and histories that are other now.

What comes is compared with what is there, bar for bar. New rows go into files of their own, so that a date costs a
date; an instrument whose history is another now leaves the files that it was in and goes whole into the new ones.
What is there afterwards is what a full import of both would have made, but for how it is cut into files, which
`joining` sees to.

T entries of the calendar of both, N instruments.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raybench.errors import DataError
from raybench.market.bars import BarBlock, Bars, open_bars
from raybench.market.bars_metadata import BarsMetadata, Histories
from raybench.market.calendar import DAY, union
from raybench.market.census import (
    LONE,
    OF_NEWEST,
    RARE,
    DateRules,
    lone_clocks,
    lone_weekdays,
    weekday_findings,
    weekend,
)
from raybench.market.importing.arrivals import judged_dates
from raybench.market.importing.comparing import Brought, Comparison
from raybench.market.importing.fitting import adjusted_as_before, check_clock, check_fits, check_names, left_out_fields
from raybench.market.importing.growing import Growing, in_order
from raybench.market.importing.job import (
    ImportResult,
    check_source,
    check_universes,
    field_meant,
    import_bars,
    said_of,
)
from raybench.market.importing.joining import joined_slices, rewritten, without
from raybench.market.importing.parts import PartsWriter, groups_of_file
from raybench.market.importing.spans import DAY_LONG, joined_and_left, merged_universes
from raybench.market.importing.target import Target
from raybench.market.importing.union import Coming, UnionSource
from raybench.market.importing.writing import Content, publish
from raybench.market.membership import Days, last_runs, universe_of_runs
from raybench.market.quality import Finding, Findings, check, clock, found, loud, merge
from raybench.market.sessions import session_findings
from raybench.market.sources.letter_case import spelled_as_bars
from raybench.market.sources.source import Source
from raybench.market.universe import ALL, Universe
from raybench.progress import SILENT, Progress
from raybench.storage import files as storage
from raybench.storage.claims import held
from raybench.storage.places import METADATA, Kind, refuse_others


@dataclass(frozen=True, slots=True, kw_only=True)
class Appended:
    """What an append brought.

    dates : how many are new, the first and the last of them
    new : instruments without bars before; ``changed``: those with another history, by the first date that is another,
        ``until``: by the last one
    rows : how many are new; ``joined``: whether files were joined
    before : the fingerprint of the bars that it was appended to
    """

    dates: int = 0
    first: str | None = None
    last: str | None = None
    new: tuple[str, ...] = ()
    changed: Mapping[str, str] = dataclasses.field(default_factory=dict)
    until: Mapping[str, str] = dataclasses.field(default_factory=dict)
    rows: int = 0
    joined: bool = False
    before: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppendResult(ImportResult):
    """The result of an append; see ``Appended``."""

    appended: Appended


def append_bars(
    source: Source,
    to: storage.Uri,
    *,
    universes: Mapping[str, Universe] | None = None,
    rules: DateRules | None = None,
    adjust: str | None = None,
    market: str | None = None,
    compact: bool = False,
    patience: float = 0.0,
    progress: Progress = SILENT,
) -> AppendResult:
    """Add the bars of ``source`` to the dataset ``to``, or make it; arguments as of ``import_bars``.

    The spans of a universe are those given from each instrument's first one on, and those that are there before it; a
    list without dates says who is a member on new dates. DataError with nothing changed if the bars are of another
    frequency or lack a field, if nobody in a universe has bars, if a date is new on which hardly any member has a bar,
    if prices were restated and the source begins in the middle of them, or if another process writes
    the dataset, after ``patience`` seconds still.
    ``compact`` joins all files.
    """
    uri, adjust = storage.open_location(to).uri, field_meant(source, adjust)
    if not storage.exists(storage.join(uri, METADATA)):
        made = import_bars(
            source,
            to,
            universes=universes,
            rules=rules,
            adjust=adjust,
            market=market,
            patience=patience,
            progress=progress,
        )
        return _everything(made)
    refuse_others(uri, Kind.BARS, option="--to")
    with held(uri, what="import", patience=patience, say=progress.note):
        target = Target(uri, replace=False)
        assert target.old is not None
        bars = Bars(uri=uri, metadata=target.old)
        adjust = adjusted_as_before(bars, adjust)
        check_source(source, uri, adjust)
        check_fits(source, bars)
        check_names(source, bars)
        named = sorted({*source.spans, *bars.instruments})
        extra, spelled = spelled_as_bars(universes or {}, named)
        check_universes(extra, named)
        source = source.settled({**source.universes, **extra}, rules, bars.calendar)
        check_clock(source, bars)
        market = market or bars.metadata.source.get("market")
        adding = _Adding(target, bars, Coming(source=source, adjust=adjust), extra, rules, market, progress)
        done = adding.run(compact=compact)
    new = {name: universe for name, universe in extra.items() if name not in bars.universes}
    said = (*spelled, *said_of(source, new, adjust), *adding.moves)
    return replace(done, notes=(*done.notes, *said), warnings=(*left_out_fields(source, bars), *done.warnings))


def frequency_of(to: storage.Uri) -> str | None:
    """The frequency of the dataset ``to``, which what is appended has too; None where there is none yet."""
    file = storage.join(to, METADATA)
    return open_bars(to).frequency if storage.exists(file) else None


def compact_bars(to: storage.Uri, *, progress: Progress = SILENT) -> ImportResult:
    """Cut the dataset ``to`` into files as a full import does."""
    uri = storage.open_location(to).uri
    with held(uri, what="import", say=progress.note):
        target = Target(uri, replace=False)
        if target.old is None:
            raise DataError(f"{uri}: is no bars dataset; make one with `raybench import` (--to)")
        old = target.old
        with target.changing():
            metadata, _ = joined_slices(target, old, compact=True, progress=progress)
            changed = metadata != old
            if changed:
                target.publish_metadata(metadata)
        target.clear(metadata)
    return AppendResult(uri=uri, metadata=metadata, changed=changed, appended=Appended(joined=changed))


class _Adding:
    """One append, with the folder claimed."""

    def __init__(
        self,
        target: Target,
        bars: Bars,
        coming: Coming,
        extra: Mapping[str, Universe],
        rules: DateRules | None,
        market: str | None,
        progress: Progress,
    ) -> None:
        self.market = market
        self.target, self.bars, self.coming, self.rules, self.progress = target, bars, coming, rules, progress
        self.calendar_T = union(bars.calendar, coming.source.calendar)
        self.added_T = np.setdiff1d(self.calendar_T, bars.calendar)
        self.days = Days(self.calendar_T)
        comes = {**coming.source.universes, **extra}
        kept = [name for name in bars.universes if name != ALL or bars.metadata.given or ALL in comes]
        there, since = {name: bars.listed(name) for name in kept}, bars.calendar[-1].astype("datetime64[D]") + DAY_LONG
        self.universes = merged_universes(there, comes, since)
        self.moves = [line for n in comes if n in there for line in joined_and_left(there[n], comes[n], since)]
        self.rows: Findings = {}

    def run(self, *, compact: bool) -> AppendResult:
        """Compare, write, and put the new metadata in place."""
        old, source = self.bars.metadata, self.coming.source
        brought = self._compared()
        brought.refuse_scaled(source.uri)
        dates = judged_dates(source, brought, self.bars, self.universes, self.days, self.rules)
        dates = merge(dates, merge(self._weekends(dates), self._lone_moments(brought)))
        with self.target.changing():
            if old.histories is None or (len(self.added_T) and self.added_T[0] < self.bars.calendar[-1]):
                metadata = rewritten(self.target, self.bars, self.coming, self.universes, progress=self.progress)
                known = metadata.warnings
                odd = merge(self.rows, self._sessions())
            else:
                metadata = self._grown(old, old.histories, brought)
                known = self._outlived(old.warnings, brought)
                odd = merge(merge(self.rows, dates), self._sessions())
            if brought.any() or len(self.added_T):
                warnings = _warnings(known, {**source.findings, **self._weekdays()}, odd)
                metadata = replace(metadata, warnings=warnings)
            metadata, joined = joined_slices(self.target, metadata, compact=compact, progress=self.progress)
            changed = metadata != old
            if changed:
                self.target.publish_metadata(metadata)
        self.target.clear(metadata)
        told = merge(merge(self.rows, dates), merge(self._sessions(), self._days_before_new_ones()))
        return AppendResult(
            uri=self.target.uri,
            metadata=metadata,
            changed=changed,
            notes=source.notes,
            warnings=loud(_warnings({}, source.findings, told)),
            appended=_appended(brought, self._new_dates(), joined=joined, before=old.fingerprint),
        )

    def _new_dates(self) -> NDArray[np.datetime64]:
        """The dates of which there was nothing."""
        return np.setdiff1d(self.days.day_D, self.bars.calendar.astype("datetime64[D]"))

    def _outlived(self, warnings: dict[str, dict[str, Any]], brought: Brought) -> dict[str, dict[str, Any]]:
        """What was odd before and is still: not the newest date, where there is a newer one or more of it."""
        newest = brought.newest()
        if newest < 0 or self.days.code_T[newest] != self.days.code_T[-1]:
            return warnings
        return {name: finding for name, finding in warnings.items() if name not in OF_NEWEST}

    def _sessions(self) -> Findings:
        """What the calendar of the exchange says of the dates that are new."""
        if self.market is None or not len(self.added_T):
            return {}
        after = min(self.bars.calendar[-1], self.added_T[0])
        return session_findings(self.market, self.calendar_T, after)

    def _weekdays(self) -> Findings:
        """Weekdays that are missing in the calendar of both."""
        return weekday_findings(self.days.day_D) if self.bars.frequency == DAY else {}

    def _weekends(self, dates: Findings) -> Findings:
        """New Saturdays and Sundays where the others are weekdays, unless they are in ``dates`` already."""
        end_D, new_D = weekend(self.days.day_D), np.isin(self.days.day_D, self._new_dates())
        daily = self.bars.frequency == DAY and end_D.sum() <= RARE * len(end_D)
        return found("date_on_weekend", list(map(str, self.days.day_D[end_D & new_D]))) if daily and not dates else {}

    def _lone_moments(self, brought: Brought) -> Findings:
        """New moments of one instrument, where others have many, at a time of day that other dates lack."""
        if self.bars.frequency == DAY or not brought.bars:
            return {}
        bars_T = np.bincount(np.concatenate(list(brought.bars.values())), minlength=len(self.calendar_T))
        bars_T[np.isin(self.calendar_T, self.bars.calendar)] = 0
        lone_T = (bars_T == 1) & lone_clocks(self.calendar_T)
        if not lone_T.any() or np.median(bars_T[bars_T > 0]) < LONE:
            return {}
        return found("moment_with_few_bars", [f"{clock(when)} (1 instrument)" for when in self.calendar_T[lone_T]])

    def _days_before_new_ones(self) -> Findings:
        """Weekdays between the last date and the new ones that nobody has, where no exchange says which there are."""
        if self.market is not None or self.bars.frequency != DAY or not len(self.added_T):
            return {}
        days = [str(day) for day in lone_weekdays(self.days.day_D) if day > self.bars.calendar[-1]]
        return found("weekday_before_new_dates", days)

    def _compared(self) -> Brought:
        comparison, groups = Comparison(self.bars, self.calendar_T), self._groups()
        with self.progress.track("compare", len(groups)) as advance:
            for group in groups:
                block, lost = self.coming.block(group, self.bars.fields)
                self.rows = merge(self.rows, lost)
                comparison.add(block)
                advance(1, text=group[-1])
        return comparison.brought

    def _groups(self) -> list[tuple[str, ...]]:
        """The instruments of the source, as many at a time as make a file."""
        spans = self.coming.source.spans
        return list(groups_of_file(list(spans), list(map(len, spans.values())), len(self.bars.fields)))

    def _grown(self, old: BarsMetadata, known: Histories, brought: Brought) -> BarsMetadata:
        """The dataset with what is new in files of its own, and without it in those where it was otherwise."""
        records = Growing(self.days, self.bars.fields, known)
        both = UnionSource.of(self.bars, self.coming)
        first = 1 + max(int(file.name[len("bars/part-") :].partition("-")[0]) for file in old.files)
        writer = PartsWriter(self.target.publish, self.calendar_T, first=first, recent=False)
        whole = {*brought.new, *brought.changed}
        for group in self._groups():
            anew, tails = self._new_rows(group, whole, set(brought.grown), both, records)
            self.rows = merge(self.rows, check(tails))
            writer.add(in_order([anew, tails]))
        base = len(old.files) - old.slices
        kept = [without(self.target, self.bars, file, brought.changed.keys()) for file in old.files]
        files = [file for file in kept if file is not None] + list(writer.finish())
        content = Content(
            frequency=old.frequency,
            fields=old.fields,
            calendar=self.calendar_T,
            histories=records.histories(),
            universes=self._universes(records, known),
            given=ALL in self.universes,
        )
        metadata = publish(self.target, content, tuple(files), source=old.source, warnings=old.warnings)
        return replace(metadata, slices=len(files) - sum(file is not None for file in kept[:base]))

    def _new_rows(
        self, group: Sequence[str], whole: Collection[str], grown: Collection[str], both: UnionSource, records: Growing
    ) -> tuple[BarBlock, BarBlock]:
        """All rows of the ``whole`` of a group; those behind their last of the ``grown``."""
        anew = both.block([name for name in group if name in whole])
        records.add(anew)
        tails = records.behind(self.coming.block([name for name in group if name in grown], both.fields)[0])
        records.grow(tails)
        return anew, tails

    def _universes(self, records: Growing, known: Histories) -> dict[str, Universe]:
        if ALL in self.universes:
            listed = {**self.coming.source.universes}
            return self.universes if ALL in listed else {**self.universes, ALL: records.extended(self.universes[ALL])}
        newest = dict(zip(known.instruments, known.newest, strict=True))
        earlier, runs = last_runs(self.bars.listed(ALL), newest, self.days)
        earlier = [span for span in earlier if span[0] not in records.runs]
        runs |= records.runs
        runs |= {name: self.days.runs(at_R, runs.get(name)) for name, at_R in records.bars.items()}
        return {**self.universes, ALL: universe_of_runs(runs, self.days, earlier)}


def _appended(brought: Brought, added_D: NDArray[np.datetime64], *, joined: bool, before: str) -> Appended:
    return Appended(
        dates=len(added_D),
        first=str(added_D[0]) if len(added_D) else None,
        last=str(added_D[-1]) if len(added_D) else None,
        new=tuple(brought.new),
        changed={name: clock(when) for name, when in sorted(brought.changed.items())},
        until={name: clock(when) for name, when in sorted(brought.until.items())},
        rows=brought.rows,
        joined=joined,
        before=before,
    )


def _warnings(before: Mapping[str, dict[str, Any]], source: Findings, rows: Findings) -> dict[str, dict[str, Any]]:
    """Findings on rows are added to those before, findings on a source take the place of those on the last one."""
    old = {name: Finding(count=f["count"], examples=tuple(f["examples"])) for name, f in before.items()}
    every = {**merge(old, rows), **source}
    return {name: finding.to_json() for name, finding in sorted(every.items())}


def _everything(made: ImportResult) -> AppendResult:
    """An import where nothing was, told as an append."""
    bars = Bars(uri=made.uri, metadata=made.metadata)
    days = np.unique(bars.calendar.astype("datetime64[D]"))
    brought = Brought(new=list(bars.instruments), rows=made.metadata.rows)
    return AppendResult(
        uri=made.uri,
        metadata=made.metadata,
        changed=made.changed,
        notes=made.notes,
        warnings=made.warnings,
        appended=_appended(brought, days, joined=False, before=""),
    )
