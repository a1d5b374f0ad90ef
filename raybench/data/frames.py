"""Frames as people have them in Python -> a pandas frame with the columns instrument, datetime and the rest.

A frame is of pandas, polars or anything else that narwhals knows; a pandas series counts as one column. Keys may be
columns or levels of the index, Qlib's (datetime, instrument) or without names. Of Qlib's columns in two levels,
('feature', 'KMID') and ('label', 'LABEL0'), the last one names a column. Nothing of what was given is changed.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from raybench.errors import DataError

if TYPE_CHECKING:  # half a second that what only reads datasets does without
    import pandas as pd

KEYS = ("instrument", "datetime")


def is_frame(value: Any) -> bool:
    """Whether it should be a table in memory, and is not the address of one."""
    return value is not None and not isinstance(value, (str, os.PathLike))


def long_frame(value: Any, *, what: str, series: str = "score") -> pd.DataFrame:
    """One row for each instrument and datetime, as pandas; ``series`` names the column that a series becomes."""
    import pandas as pd

    frame = _pandas(value, what, series)
    if isinstance(frame.columns, pd.MultiIndex):
        frame = frame.set_axis([str(names[-1] or names[0]) for names in frame.columns], axis=1)
    if not set(KEYS) <= set(frame.columns):
        frame = _with_levels(frame)
    twice = frame.columns[frame.columns.duplicated()]
    if len(twice):
        raise DataError(f"{what}: two columns are called {twice[0]}; want one")
    missing = [key for key in KEYS if key not in frame.columns]
    if missing:
        has = ", ".join(map(str, frame.columns[:8])) + (", ..." if len(frame.columns) > 8 else "")
        raise DataError(f"{what}: no column {' and no column '.join(missing)} among {has}; want instrument, datetime")
    return frame


def _pandas(value: Any, what: str, series: str) -> pd.DataFrame:
    import narwhals as nw
    import pandas as pd

    if isinstance(value, pd.DataFrame):
        return value
    if isinstance(value, pd.Series):
        return value.to_frame(series)
    native = nw.from_native(value, pass_through=True)
    if isinstance(native, nw.LazyFrame):
        native = native.collect()
    if not isinstance(native, nw.DataFrame):
        raise DataError(f"{what}: is a {type(value).__name__}; want a frame of pandas or polars")
    made: pd.DataFrame = native.to_pandas()
    return made


def _with_levels(frame: pd.DataFrame) -> pd.DataFrame:
    """Levels of the index as columns; those without a name are told by what they hold."""
    names: list[Any] = list(frame.index.names)
    if not any(names) and frame.index.nlevels == 2:
        dated = [_holds_dates(frame.index.get_level_values(i)) for i in range(2)]
        if dated.count(True) == 1:
            names = ["datetime" if is_dated else "instrument" for is_dated in dated]
    if not any(name in KEYS for name in names):
        return frame
    return frame.rename_axis(index=names).reset_index()


def _holds_dates(level: pd.Index[Any]) -> bool:
    import pandas as pd

    kinds = ("datetime64", "datetime", "date", "period")
    return pd.api.types.is_datetime64_any_dtype(level) or pd.api.types.infer_dtype(level, skipna=True) in kinds
