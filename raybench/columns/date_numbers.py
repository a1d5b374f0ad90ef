"""Numbers that are dates in disguise: 20200131, 202001, or a count of seconds or less since 1970.

They are told by their values, whatever their column is called, and also after they were made float32, which keeps seven
digits: 20200131 is then 20200132, so a day may be 32. R rows; NaN takes no part.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from raybench.columns.epochs import UNITS, unit_of_span

FEWEST = 5  # different values, below which nothing is told
ALIKE = 0.999  # correlation of a count with the rows' own time: a volume of the same size has none


def disguise(value_R: npt.NDArray[np.floating], when_R: npt.NDArray[np.datetime64]) -> str:
    """What a column is if it is dates; empty if it is not. ``when_R``: when each row is.

    >>> days = np.arange("2020-01-01", "2020-03-01", dtype="datetime64[D]")
    >>> disguise(np.array([int(str(day).replace("-", "")) for day in days], np.float32), days)
    'dates as 20200131'
    >>> disguise(days.astype("datetime64[s]").astype(np.float32), days), disguise(np.arange(60.0), days)
    ('seconds since 1970', '')
    """
    there_R = np.isfinite(value_R)
    value_V, when_V = value_R[there_R].astype(np.float64), when_R[there_R]
    if len(value_V) < FEWEST or len(np.unique(value_V)) < FEWEST or (value_V % 1).any():
        return ""
    if _calendar(value_V // 10_000, value_V // 100 % 100, value_V % 100):
        return "dates as 20200131"
    if _calendar(value_V // 100, value_V % 100, np.ones_like(value_V)):
        return "months as 202001"
    unit = unit_of_span(float(value_V.min()), float(value_V.max()))
    if unit is None:
        return ""
    time_V = when_V.astype("datetime64[us]").astype(np.int64).astype(np.float64)
    if time_V.min() == time_V.max() or np.corrcoef(value_V, time_V)[0, 1] < ALIKE:
        return ""
    return f"{UNITS[unit]} since 1970"


def _calendar(year: npt.NDArray[np.float64], month: npt.NDArray[np.float64], day: npt.NDArray[np.float64]) -> bool:
    """Whether all are years, months and days."""
    fit = (year >= 1900) & (year <= 2100) & (month >= 1) & (month <= 12) & (day >= 0) & (day <= 32)
    return bool(fit.all())
