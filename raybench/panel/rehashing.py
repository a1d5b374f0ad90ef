"""The hashes of rows as a panel to be scored has them, from their source alone: no feature is computed."""

from __future__ import annotations

from raybench.feature_sets.table import FeatureTable
from raybench.market.bars import Bars
from raybench.market.universe import ALL
from raybench.panel.frame_parts import TableRows, members
from raybench.panel.presence import Days
from raybench.panel.row_hashes import SECOND, Hashing, Reads, RowHashes, joined_hashes
from raybench.panel.second import Clock, whole_days
from raybench.progress import SILENT, Progress


def hash_bars(bars: Bars, reads: Reads, days: Days, progress: Progress = SILENT) -> RowHashes | None:
    """Hash what ``reads`` says of bars, or of a second window's; None if there is nothing of these days."""
    known = None
    if reads.source == SECOND:
        known = Clock(daily=whole_days(bars.calendar), lag_minutes=reads.lag_minutes or 0).known(bars.calendar)
    plan = Hashing.of(reads, days, bars.calendar, known)
    if not len(plan.days):
        return None
    universe = bars.universe(reads.universe)
    fields = tuple(name for name in reads.fields if name in bars.fields)
    groups = bars.groups(members(universe, plan.calendar[0], plan.calendar[-1]))
    parts = []
    with progress.track("reading bars", len(groups)) as advance:
        for group in groups:
            block = bars.block(group, fields, start=plan.calendar[0], end=plan.calendar[-1], trailing=True)
            parts.append(plan.block(block, universe.mask(block.instruments, block.code_R, block.datetime_R)))
            advance(1)
    return joined_hashes(parts)


def hash_table(
    table: FeatureTable, bars: Bars | None, reads: Reads, days: Days, progress: Progress = SILENT
) -> RowHashes | None:
    """Hash what ``reads`` says of a feature table; None if its universe is not known or it lacks a column."""
    universe = None if bars is None else bars.universe(reads.universe)
    plan = Hashing.of(reads, days, table.dates())
    unreadable = set(reads.fields) - set(table.readable)
    if not len(plan.days) or unreadable or (universe is None and reads.universe != ALL):
        return None
    rows = TableRows(
        table=table,
        universe=universe,
        label=None,
        start=plan.calendar[0].astype("datetime64[D]"),
        end=plan.calendar[-1].astype("datetime64[D]"),
        columns=reads.fields,
        hashing=plan,
    )
    groups = rows.groups()
    with progress.track("reading features", len(groups)) as advance:
        parts = []
        for group in groups:
            found = rows.part(group).hashes
            parts += [] if found is None else [found]
            advance(1)
    return joined_hashes(parts)
