"""What a dataset of bars holds: how many bars of each instrument, and how many values of each field.

A row without a price is no bar; NaN is no value. So a history whose rows are there and whose prices are not is told
from one that is.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from raybench.columns.types import Moments
from raybench.market.bars import BarBlock
from raybench.market.census import has_bar

BARS = "bars"


class Holdings:
    """Counts by what is counted (``bars``, or a field) and instrument; blocks of whole instruments are added.

    Rows at the moments ``without`` are not counted.
    """

    def __init__(self, without: Moments | None = None) -> None:
        self._without = without
        self.counts: dict[str, dict[str, int]] = {}

    def add(self, block: BarBlock) -> None:
        """Count the rows of a block."""
        kept_R = np.ones(block.rows, bool) if self._without is None else ~np.isin(block.datetime_R, self._without)
        there = {BARS: has_bar(block.fields, block.rows), **{f: ~np.isnan(v_R) for f, v_R in block.fields.items()}}
        for what, there_R in there.items():
            sum_R1 = np.cumsum(np.r_[0, there_R & kept_R])
            counts_N = sum_R1[block.start_N1[1:]] - sum_R1[block.start_N1[:-1]]
            self.counts.setdefault(what, {}).update(zip(block.instruments, counts_N.tolist(), strict=True))

    def total(self, what: str) -> int:
        """Of all instruments."""
        return sum(self.counts.get(what, {}).values())

    def of(self, what: str, instrument: str) -> int:
        """Of one, 0 if it is not there."""
        return self.counts.get(what, {}).get(instrument, 0)

    @property
    def kinds(self) -> Sequence[str]:
        """What is counted, bars first."""
        return list(self.counts)
