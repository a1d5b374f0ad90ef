"""Daily bars whose rows carry different clocks: one stamp for each date, or an error.

A table is daily when its instruments have one row a date. The clock of most rows becomes that of all, so that a row
which a vendor stamped with the moment of its making is not a date of its own.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from raybench.data.calendar import DAY, Moments, infer_frequency
from raybench.data.quality import EXAMPLES, Finding, Findings, clock
from raybench.data.sources.spool import Spool
from raybench.errors import DataError

Clock = np.timedelta64


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    """What the clocks of a table say. ``one``: that of every row of daily bars; None where rows keep their own."""

    frequency: str
    one: Clock | None
    findings: Findings

    def stamps(self, datetime_R: Moments) -> Moments:
        """The moments as the calendar has them."""
        if self.one is None:
            return datetime_R
        return (datetime_R.astype("datetime64[D]") + self.one).astype("datetime64[us]")


def read_clocks(spool: Spool, frequency: str | None) -> Clocks:
    """Find out whether bars are daily, unless ``frequency`` says it, and which clock is theirs."""
    spread = np.unique(_clock(spool.calendar))
    if len(spread) == 1 or frequency not in (None, DAY):
        return Clocks(frequency=frequency or infer_frequency(spool.calendar), one=None, findings={})
    rows: Counter[Clock] = Counter()
    dates = several = 0
    for name in spool.instruments:
        datetime_R = spool.moments(name)
        values, counts = np.unique(_clock(datetime_R), return_counts=True)
        rows.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))
        _, counts = np.unique(datetime_R.astype("datetime64[D]"), return_counts=True)
        dates, several = dates + len(counts), several + int((counts > 1).sum())
    if frequency is None and 2 * several >= dates:
        return Clocks(frequency=infer_frequency(spool.calendar), one=None, findings={})
    if several:
        raise DataError(_two_in_a_date(spool))
    most = max(rows.values())
    one = np.timedelta64(min(value for value, count in rows.items() if count == most), "us")
    return Clocks(frequency=DAY, one=one, findings={"clock_differs": _moved(spool, one)})


def _clock(datetime_R: Moments) -> NDArray[np.int64]:
    """The time of day, in microseconds."""
    since_R: NDArray[np.int64] = (datetime_R - datetime_R.astype("datetime64[D]")).astype("m8[us]").astype(np.int64)
    return since_R


def _two_in_a_date(spool: Spool) -> str:
    for name in spool.instruments:
        datetime_R = np.sort(spool.moments(name))
        day_R = datetime_R.astype("datetime64[D]")
        for i in np.flatnonzero(day_R[1:] == day_R[:-1])[:1]:
            files = " and ".join(sorted({o for when in datetime_R[i : i + 2] for o in spool.origins(name, when)}))
            return (
                f"{files}: daily bars, but {name} has two rows on {day_R[i]}, {clock(datetime_R[i])} and "
                f"{clock(datetime_R[i + 1])}; want one, or say what they are with --frequency (such as 60min)"
            )
    raise AssertionError("no two rows in a date")


def _moved(spool: Spool, one: Clock) -> Finding:
    count = 0
    examples: list[str] = []
    for name in spool.instruments:
        datetime_R = spool.moments(name)
        other = datetime_R[_clock(datetime_R) != one.astype(np.int64)]
        count += len(other)
        examples += [f"{name} {clock(when)}" for when in np.sort(other)[: EXAMPLES - len(examples)]]
    return Finding(count=count, examples=tuple(examples))
