"""The calendar: every point in time at which bars may lie, datetime64[us] [T], sorted, without zone.

An instrument is complete when it has a row for each calendar entry from its first bar to its last;
a row without a bar is NaN in every field.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from raybench.columns.types import Floats, Moments
from raybench.errors import DataError

DAY = "day"

Dates = NDArray[np.datetime64]
"""datetime64[D]."""


def no_moments() -> Moments:
    """No point in time."""
    return np.empty(0, "datetime64[us]")


def no_dates() -> Dates:
    """No date."""
    return np.empty(0, "datetime64[D]")


def union(left_T: Moments, right_R: Moments) -> Moments:
    """Both, sorted, each entry once."""
    return np.union1d(left_T, right_R).astype("datetime64[us]", copy=False)


def infer_frequency(calendar_T: Moments) -> str:
    """``day`` when every entry is a midnight, else the commonest step within a day, such as ``60min``."""
    day_T = calendar_T.astype("datetime64[D]")
    if bool(np.all(calendar_T == day_T)):
        return DAY
    step = np.diff(calendar_T)[day_T[1:] == day_T[:-1]].astype("timedelta64[s]").astype(np.int64)
    if step.size == 0:
        return DAY
    values, counts = np.unique(step, return_counts=True)
    seconds = int(values[np.argmax(counts)])
    return f"{seconds // 60}min" if seconds and seconds % 60 == 0 else f"{seconds}s"


def positions(calendar_T: Moments, datetime_R: Moments) -> NDArray[np.int64]:
    """Where each moment lies in the calendar -> [R]; one that is not in it is an error."""
    at_R = np.searchsorted(calendar_T, datetime_R)
    inside_R = at_R < len(calendar_T)
    inside_R[inside_R] &= calendar_T[at_R[inside_R]] == datetime_R[inside_R]
    if not inside_R.all():
        raise DataError(f"{datetime_R[~inside_R][0]} is not in the calendar")
    return at_R.astype(np.int64, copy=False)


def complete(
    calendar_T: Moments, datetime_R: Moments, fields: Mapping[str, Floats]
) -> tuple[Moments, dict[str, Floats]]:
    """One instrument's sorted rows with NaN rows wherever the calendar has an entry and it has none."""
    if len(datetime_R) == 0:
        return datetime_R, dict(fields)
    at_R = positions(calendar_T, datetime_R)
    first, stop = int(at_R[0]), int(at_R[-1]) + 1
    if stop - first == len(at_R):
        return datetime_R, dict(fields)
    filled = {}
    for name, value_R in fields.items():
        filled[name] = np.full(stop - first, np.nan, dtype=np.float32)
        filled[name][at_R - first] = value_R
    return calendar_T[first:stop], filled
