"""The second window of a sample: which row of the second bars it ends with.

A sample of a whole day is scored at the end of that day, any other at its datetime. It is given the window that ends
with the newest row of its instrument that is known by then:

- bars with a time of day are known ``lag_minutes`` after their stamp. raybench takes a stamp for the end of its bar,
  with 0; where it is the start, ``lag_minutes`` has to be the length of the bar.
- bars of whole days (every stamp is a midnight) are known ``lag_minutes`` after the last moment of their day.

So a daily sample sees the intraday bars of its own day, and an intraday sample the daily bars of days before its own.
A sample without a row has row id -1, and is given zeros. No row are:

- one without a close (suspended): whether there is such a row, or none, shows only once the instrument trades again;
- one that lies ``step_len`` or more stamps of the second bars back, which keeps a window from depending on how far
  back bars were read;
- any, on the days behind the end of the second bars, which may be late (bars of whole days reach one day further).

Shapes: T stamps, K rows that their processors left, S samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from raybench.columns.moments import REST_OF_DAY
from raybench.columns.types import Moments
from raybench.errors import DataError
from raybench.market.bars import Bars
from raybench.panel.frame import Frame
from raybench.panel.row_hashes import RowHashes
from raybench.panel.types import Panel, Samples, Segment
from raybench.panel.windows import WindowSource
from raybench.processors import FittedProcessors
from raybench.progress import SILENT, Progress

Int64 = NDArray[np.int64]
NO_ROW = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """When what happened is known; ``daily``: stamps stand for whole days."""

    daily: bool
    lag_minutes: int = 0

    def known(self, stamps: Moments) -> Moments:
        """When the bars of each stamp are known [T]."""
        lag = np.timedelta64(self.lag_minutes, "m") + (REST_OF_DAY if self.daily else np.timedelta64(0, "us"))
        known_T: Moments = np.asarray(stamps.astype("datetime64[us]") + lag, dtype="datetime64[us]")
        return known_T


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondRows:
    """The rows of the second bars as a source of windows.

    clock: when the bars are known. known_T: when those of each stamp are, ascending. row_K: row ids of the source;
    instrument_K and stamp_K: whose they are and of which stamp, by which they are sorted. hashes: of what is read.
    """

    bars: Bars
    clock: Clock
    source: WindowSource
    fitted: FittedProcessors
    instruments: tuple[str, ...]
    known_T: Moments
    instrument_K: NDArray[np.int32]
    stamp_K: NDArray[np.int32]
    row_K: Int64
    hashes: RowHashes | None = None

    @classmethod
    def of(cls, every: Segment, frame: Frame, *, bars: Bars, clock: Clock, fitted: FittedProcessors) -> SecondRows:
        """Index the rows of a segment that holds all of a frame's; their label is the close."""
        samples = every.samples.take(~np.isnan(every.samples.raw_label_S))
        order_K = np.lexsort((samples.date_S, samples.instrument_S))
        return cls(
            bars=bars,
            clock=clock,
            source=every.source,
            fitted=fitted,
            instruments=frame.instruments,
            known_T=clock.known(frame.dates),
            instrument_K=samples.instrument_S[order_K],
            stamp_K=samples.date_S[order_K],
            row_K=samples.row_S[order_K],
            hashes=frame.hashes,
        )

    def rows_for(self, instruments: Sequence[str], samples: Samples, moments: Moments) -> Int64:
        """Find the row that the window of each sample ends with [S]; ``moments``: when each date is scored [T]."""
        if not len(self.row_K):
            return np.full(len(samples), NO_ROW, np.int64)
        code_of = {name: code for code, name in enumerate(self.instruments)}
        code_N = np.array([code_of.get(name, -1) for name in instruments], np.int64)
        code_S = code_N[samples.instrument_S]
        newest_S = np.searchsorted(self.known_T, moments[samples.date_S], side="right") - 1
        width = len(self.known_T) + 1
        key_K = self.instrument_K.astype(np.int64) * width + self.stamp_K
        at_S = np.searchsorted(key_K, code_S * width + newest_S, side="right") - 1
        found_S = np.maximum(at_S, 0)
        has_S = (at_S >= 0) & (code_S >= 0) & (newest_S >= 0) & (self.instrument_K[found_S] == code_S)
        has_S &= newest_S - self.stamp_K[found_S] < self.source.step_len
        return np.where(has_S, self.row_K[found_S], NO_ROW)

    def reach(self, calendar: Moments) -> np.datetime64:
        """Say up to which day there are windows, for samples with the datetimes of ``calendar``."""
        known = self.clock.known(self.bars.calendar[-1:])
        end: np.datetime64 = known[0].astype("datetime64[D]")
        if not self.clock.daily:
            return end
        days = calendar.astype("datetime64[D]")
        return min(days[days > end], default=end)


def whole_days(moments: Moments) -> bool:
    """Whether all stamps are midnights, and so stand for days."""
    return bool(np.all(moments == moments.astype("datetime64[D]")))


def with_second(panel: Panel, rows: SecondRows, calendar: Moments, *, progress: Progress = SILENT) -> Panel:
    """Give every sample its second window; ``calendar``: of the first bars or features, all of it.

    DataError if no sample of a segment has one.
    """
    clock = Clock(daily=whole_days(calendar) and whole_days(panel.dates))
    moments = clock.known(panel.dates)
    late_T = panel.dates.astype("datetime64[D]") > rows.reach(calendar)
    segments = {}
    for name, segment in panel.segments.items():
        row_S = rows.rows_for(panel.instruments, segment.samples, moments)
        row_S[late_T[segment.samples.date_S]] = NO_ROW
        without = int((row_S == NO_ROW).sum())
        if without and without == len(row_S):
            raise DataError(_nothing(name, panel, rows))
        if without:
            progress.note(
                f"{name}: {without:,} of {len(row_S):,} samples have no row in data.second.bars; they are given zeros"
            )
        samples = replace(segment.samples, second_row_S=row_S)
        segments[name] = replace(segment, samples=samples, second=rows.source)
    return replace(panel, segments=segments, second_processors=rows.fitted)


def _nothing(name: str, panel: Panel, rows: SecondRows) -> str:
    what = f"data.second.bars: {rows.bars.uri}: have no row for any sample of {name}"
    if set(panel.instruments).isdisjoint(rows.instruments):
        return f"{what}: instruments are written as {rows.instruments[0]}, in the first bars as {panel.instruments[0]}"
    days = [str(moment.astype("datetime64[D]")) for moment in rows.bars.calendar[[0, -1]]]
    return f"{what}; they run from {days[0]} to {days[1]}"
