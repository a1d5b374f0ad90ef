"""What is odd about all bars of a source, seen while its blocks go by."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from raybench.market.adjustment import Adjustment
from raybench.market.bars import BarBlock
from raybench.market.calendar import DAY
from raybench.market.census import Census, has_bar, repeats
from raybench.market.quality import ROW_FINDINGS, Findings, check, merge
from raybench.market.sources.source import Source
from raybench.market.universe import ALL, Universe

SURVEYED = frozenset(
    {
        *ROW_FINDINGS,
        *("date_with_few_bars", "date_without_bars", "long_gap", "newest_date_incomplete", "weekday_without_bars"),
        *("date_filled_forward", "newest_date_filled_forward", "date_on_weekend", "moment_with_few_bars"),
        *("overnight_jump", "raw_beside_factor", "adjusted_twice", "raw_beside_adjusted_close"),
        *("member_without_files", "member_spelt_otherwise"),
    }
)
"""What is found by looking at all bars and their universes, and so is found anew when all are written."""


class Survey:
    """Findings on rows, dates and the adjustment of prices; blocks are added one after another."""

    def __init__(self, source: Source, universes: Mapping[str, Universe]) -> None:
        self._spans, self._daily = source.spans, source.frequency == DAY
        self._rows: Findings = {}
        self._census = Census(source.calendar, {name: u for name, u in universes.items() if name != ALL})
        self._adjustment = Adjustment()

    def add(self, block: BarBlock) -> None:
        """Look at one more block, of complete instruments."""
        self._rows = merge(self._rows, check(block))
        if {"open", "close"} <= block.fields.keys():
            self._adjustment.add(block)
        bar_R = has_bar(block.fields, block.rows)
        for i, name in enumerate(block.instruments):
            rows = slice(int(block.start_N1[i]), int(block.start_N1[i + 1]))
            again_R = repeats({field: value_R[rows] for field, value_R in block.fields.items()}, bar_R[rows])
            at_R = np.flatnonzero(bar_R[rows])
            self._census.add(name, self._spans[name].start + at_R, again_R[at_R])

    def findings(self) -> Findings:
        """All of it, by name."""
        dates = self._census.findings(daily=self._daily)
        return merge(self._rows, merge(dates, self._adjustment.findings()))
