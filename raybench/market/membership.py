"""The universe ``all``, as it was known on each date, and the rows that members have without a bar.

T calendar entries, D dates, N instruments. An instrument is a member of ``all`` on a date if it had a bar on one of the
last ``QUIET`` dates of the calendar up to it. That says the same on the date and years later: who is suspended and who
was delisted look alike until they trade again, or do not.

A member without a bar on the newest dates has no row there yet; it will have rows of NaN once it trades again. So such
rows follow its last one, as far as a universe holds it and for ``TRAILING`` dates at most: what is read on the date is
what is read later. Whoever has no bar for longer looks delisted, and is left out until it trades again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from raybench.columns.types import Moments
from raybench.market.universe import ALL, Universe, make_universe

QUIET = 60
TRAILING = 8

Span = tuple[str, np.datetime64, np.datetime64]
Positions = NDArray[np.int64]
Runs = list[tuple[int, int]]
"""Where in the calendar the first and the last bar are between which no pause is longer than a member may take."""


class Days:
    """The dates of a calendar, and which of them each entry is on."""

    def __init__(self, calendar_T: Moments) -> None:
        self.calendar_T = calendar_T
        self.day_D, self.code_T = np.unique(calendar_T.astype("datetime64[D]"), return_inverse=True)

    def runs(self, at_R: Positions, before: Runs | None = None) -> Runs:
        """The runs of an instrument with bars at ``at_R``, ascending; ``before``: its runs up to there."""
        runs = list(before or ())
        if not len(at_R):
            return runs
        breaks = np.flatnonzero(np.diff(self.code_T[at_R]) > QUIET)
        found = list(zip(at_R[np.r_[0, breaks + 1]].tolist(), at_R[np.r_[breaks, -1]].tolist(), strict=True))
        if runs and self.code_T[found[0][0]] - self.code_T[runs[-1][1]] <= QUIET:
            found[0] = (runs.pop()[0], found[0][1])
        return runs + found

    def quiet(self, at: int) -> int:
        """The last entry at which whoever had a bar at ``at`` is a member for that."""
        day = min(int(self.code_T[at]) + QUIET - 1, len(self.day_D) - 1)
        return int(np.searchsorted(self.code_T, day, side="right")) - 1


def universe_of_runs(runs: Mapping[str, Runs], days: Days, earlier: Sequence[Span] = ()) -> Universe:
    """The universe ``all`` of instruments with these runs, and with spans from ``earlier`` ones."""
    spans = [*earlier]
    for name, each in runs.items():
        spans += [(name, days.calendar_T[first], days.calendar_T[days.quiet(last)]) for first, last in each]
    starts, ends = (np.array([span[k] for span in spans], "datetime64[us]") for k in (1, 2))
    return make_universe(ALL, [name for name, _, _ in spans], starts, ends, where="bars")


def last_runs(universe: Universe, newest: Mapping[str, int], days: Days) -> tuple[list[Span], dict[str, Runs]]:
    """Back from ``universe_of_runs``: the spans that are over, and the run of each instrument that may go on.

    ``newest``: the position of the newest bar of each instrument.
    """
    earlier: list[Span] = []
    runs: dict[str, Runs] = {}
    spans = list(zip(universe.instrument_K, universe.start_K, universe.end_K, strict=True))
    for span, after in zip(spans, [*spans[1:], None], strict=True):
        name, start, _ = span
        if after is not None and after[0] == name:
            earlier.append(span)
        else:
            runs[name] = [(int(np.searchsorted(days.calendar_T, start)), newest[name])]
    return earlier, runs


def trailing_rows(
    universes: Iterable[Universe], instruments: Sequence[str], stop_N: Positions, calendar_T: Moments
) -> list[int]:
    """How many rows of NaN follow those that end before ``stop_N``, as long as a universe holds each, and no longer.

    On ``TRAILING`` dates at most.
    """
    code_of = {name: code for code, name in enumerate(instruments)}
    reach_N = np.asarray(stop_N, np.int64).copy()
    for universe in universes:
        code_K = np.array([code_of.get(name, -1) for name in universe.instrument_K], np.int64)
        known_K = code_K >= 0
        stop_K = np.searchsorted(calendar_T, universe.last_K, side="right")
        np.maximum.at(reach_N, code_K[known_K], stop_K[known_K])
    days = Days(calendar_T)
    last_N = np.minimum(days.code_T[np.maximum(stop_N, 1) - 1] + TRAILING, len(days.day_D) - 1)
    reach_N = np.minimum(reach_N, np.maximum(np.searchsorted(days.code_T, last_N, side="right"), stop_N))
    trailing: list[int] = (reach_N - stop_N).tolist()
    return trailing
