"""What is remembered of each instrument while rows are added to some of them.

R rows, N instruments, T entries of the calendar, which has grown at its end alone: places in it are as they were.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from raybench.market.bars import BarBlock, block_of
from raybench.market.bars_metadata import Histories
from raybench.market.calendar import positions
from raybench.market.census import has_bar
from raybench.market.digests import added, digests
from raybench.market.importing.union import overlaid
from raybench.market.importing.writing import Records
from raybench.market.membership import Days
from raybench.market.universe import ALL, Universe, make_universe


class Growing(Records):
    """Records of what is there, to which whole instruments are added and others grow.

    bars : where each instrument that grew has its new bars
    """

    def __init__(self, days: Days, fields: Sequence[str], known: Histories) -> None:
        super().__init__(days, fields)
        self.bars: dict[str, NDArray[np.int64]] = {}
        columns = (known.starts, known.counts, known.newest, known.digests)
        self._rows = dict(zip(known.instruments, zip(*columns, strict=True), strict=True))

    def behind(self, block: BarBlock) -> BarBlock:
        """The rows behind the last that is there of each instrument, complete from there on."""
        parts = []
        for i, name in enumerate(block.instruments):
            one = block.slice(i)
            start, count, _, _ = self._rows[name]
            stop = int(positions(self._days.calendar_T, one.datetime_R[-1:])[0]) + 1
            when_R = self._days.calendar_T[start + count : stop]
            new_R = one.datetime_R >= when_R[0]
            rows = (one.datetime_R[new_R], {field: value_R[new_R] for field, value_R in one.fields.items()})
            parts.append((name, when_R, overlaid(when_R, self._fields, None, rows)))
        return block_of(parts, self._fields)

    def grow(self, block: BarBlock) -> None:
        """Remember rows that go behind the last."""
        at_R = positions(self._days.calendar_T, block.datetime_R)
        bar_R = has_bar(block.fields, block.rows)
        for i, (name, digest) in enumerate(zip(block.instruments, digests(block, self._fields), strict=True)):
            rows = slice(int(block.start_N1[i]), int(block.start_N1[i + 1]))
            self.bars[name] = at_R[rows][bar_R[rows]]
            start, count, newest, before = self._rows[name]
            newest = int(self.bars[name][-1]) if len(self.bars[name]) else newest
            self._rows[name] = (start, count + rows.stop - rows.start, newest, added(before, digest))

    def extended(self, universe: Universe) -> Universe:
        """The universe ``all`` that once came with a source, up to the last rows of those that have new ones."""
        calendar_T = self._days.calendar_T
        ends = dict(zip(universe.instrument_K, universe.end_K, strict=True))  # of the last span of each
        spans = list(zip(universe.instrument_K, universe.start_K, universe.end_K, strict=True))
        for name in [*self.runs, *self.bars]:
            start, count, _, _ = self._rows[name]
            first, last = calendar_T[start], calendar_T[start + count - 1]
            if name not in ends:
                spans.append((name, first, last))
            elif last > ends[name]:
                at = max(k for k, span in enumerate(spans) if span[0] == name)
                spans[at] = (name, spans[at][1], last)
        starts, stops = (np.array([span[k] for span in spans], "datetime64[us]") for k in (1, 2))
        return make_universe(ALL, [span[0] for span in spans], starts, stops, where="bars")


def in_order(blocks: Sequence[BarBlock]) -> BarBlock:
    """Blocks of different instruments as one, sorted by name."""
    each = [block.slice(i) for block in blocks for i in range(len(block.instruments))]
    each.sort(key=lambda one: one.instruments)
    return block_of(((one.instruments[0], one.datetime_R, one.fields) for one in each), list(blocks[0].fields))
