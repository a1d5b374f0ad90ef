"""What a bars dataset holds. All bars are read once, a group of instruments at a time, for the share of NaN."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raybench.contents.size import megabytes
from raybench.contents.years import by_year, far_apart
from raybench.market.bars import Bars, open_bars
from raybench.market.bars_metadata import SCHEMA_VERSION
from raybench.market.quality import serious
from raybench.panel.presence import count_spans, days_of, present
from raybench.progress import Progress

READ_ROWS = 2_000_000  # at a time
THIN = 0.1  # of the usual number of bars: a date with fewer is named
NAMED = 3


def bars_contents(uri: str, progress: Progress) -> dict[str, Any]:
    """Describe the bars dataset at ``uri``."""
    bars = open_bars(uri)
    days = days_of(bars.calendar)
    read = _Read(bars, progress)
    counts = {name: count_spans(present(bars, name), days) for name in bars.universes}
    metadata = bars.metadata
    return {
        "bars": bars.uri,
        "frequency": bars.frequency,
        "first": metadata.first,
        "last": metadata.last,
        "dates": metadata.dates,
        "days": len(days),
        "instruments": len(bars.instruments),
        "rows": metadata.rows,
        "suspended": read.empty_share,
        "far_apart": far_apart(days),
        "thin_dates": read.thin_dates(),
        "files": len(bars.files),
        "megabytes": megabytes(bars.uri),
        "fingerprint": bars.fingerprint,
        "versions": {"schema": 1 if metadata.histories is None else SCHEMA_VERSION},
        "source": dict(metadata.source),
        "findings": list(serious(metadata.warnings)),
        "fields": read.fields(),
        "universes": [_universe(bars, name, counts[name]) for name in bars.universes],
        "years": by_year(days, {"with_bars": read.by_day(days), **counts}),
    }


class _Read:
    """What reading every bar told: NaN by field, rows without any value, bars by point of the calendar."""

    def __init__(self, bars: Bars, progress: Progress) -> None:
        self._bars = bars
        self._rows = 0
        self._empty = 0
        self._nan = dict.fromkeys(bars.fields, 0)
        self._lowest = dict.fromkeys(bars.fields, np.inf)
        self._highest = dict.fromkeys(bars.fields, -np.inf)
        self._bars_T: NDArray[np.int64] = np.zeros(len(bars.calendar), np.int64)
        groups = bars.groups(max_rows=READ_ROWS)
        with progress.track("bars", len(groups)) as advance:
            for group in groups:
                self._take(group)
                advance()

    def _take(self, group: tuple[str, ...]) -> None:
        block = self._bars.block(group)
        empty_R = np.ones(block.rows, bool)
        for name, value_R in block.fields.items():
            nan_R = np.isnan(value_R)
            empty_R &= nan_R
            self._nan[name] += int(nan_R.sum())
            if not nan_R.all():
                self._lowest[name] = min(self._lowest[name], float(np.nanmin(value_R)))
                self._highest[name] = max(self._highest[name], float(np.nanmax(value_R)))
        self._rows += block.rows
        self._empty += int(empty_R.sum())
        at_R = np.searchsorted(self._bars.calendar, block.datetime_R[~empty_R])
        self._bars_T += np.bincount(at_R, minlength=len(self._bars_T))

    @property
    def empty_share(self) -> float:
        return _share(self._empty, self._rows)

    def fields(self) -> list[Mapping[str, Any]]:
        """A row for each field; the share of NaN is of all rows, suspended ones included."""
        return [
            {
                "field": name,
                "nan_share": _share(self._nan[name], self._rows),
                "lowest": self._lowest[name] if self._nan[name] < self._rows else None,
                "highest": self._highest[name] if self._nan[name] < self._rows else None,
            }
            for name in self._bars.fields
        ]

    def by_day(self, days: NDArray[np.datetime64]) -> NDArray[np.int64]:
        """Count the instruments with a bar on each of ``days``; of several points in time in a day, the most."""
        count_D = np.zeros(len(days), np.int64)
        np.maximum.at(count_D, np.searchsorted(days, self._bars.calendar.astype("datetime64[D]")), self._bars_T)
        return count_D

    def thin_dates(self) -> list[str]:
        """Name the points of the calendar at which hardly anybody has a bar, and count them."""
        calendar = self._bars.calendar
        thin = np.flatnonzero(self._bars_T < THIN * np.median(self._bars_T))
        named = [str(calendar[i].astype("datetime64[s]")).removesuffix("T00:00:00") for i in thin[:NAMED]]
        return [*named, *([f"and {len(thin) - NAMED} more"] if len(thin) > NAMED else [])]


def _universe(bars: Bars, name: str, count_D: NDArray[np.int64]) -> dict[str, Any]:
    listed = bars.listed(name)
    there = set(bars.instruments)
    return {
        "universe": name,
        "instruments": len(listed.instruments),
        "without_bars": len(set(listed.instruments) - there),
        "spans": len(listed.instrument_K),
        "on_newest_date": int(count_D[-1]),
    }


def _share(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else 0.0
