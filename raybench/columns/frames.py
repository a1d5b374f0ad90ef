"""Frames as people have them in Python -> a pandas frame with the columns instrument, datetime and the rest.

A frame is of pandas, polars or anything else that narwhals knows; a pandas series counts as one column. Keys may be
columns or levels of the index, Qlib's (datetime, instrument) or without names, also under customary names (Date,
Ticker). Instruments side by side, as yfinance gives them, become rows. Of Qlib's columns in two levels, ('feature',
'KMID') and ('label', 'LABEL0'), the last one names a column. Nothing of what was given is changed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Any, cast

from raybench.columns import epochs, moments
from raybench.columns.clock_times import is_clock, joined
from raybench.columns.names import CUSTOMARY, plain, recognised
from raybench.errors import DataError
from raybench.progress import warn

if TYPE_CHECKING:  # half a second that what only reads datasets does without
    import pandas as pd

KEYS = ("instrument", "datetime")
Say = Callable[[Iterable[str]], None]
_PRICES = ("open", "high", "low", "close")
_BELOW = (
    ': for one instrument, frame.assign(instrument="AAPL"); for several side by side, '
    'frame.stack(level="Ticker", future_stack=True)'
)


def is_frame(value: Any) -> bool:
    """Whether it should be a table in memory, and is not the address of one."""
    return value is not None and not isinstance(value, (str, os.PathLike))


def long_frame(
    value: Any, *, what: str, series: str = "score", wanted: Collection[str] = KEYS, say: Say = warn
) -> pd.DataFrame:
    """One row for each instrument and datetime, as pandas; ``series`` names the column that a series becomes.

    ``wanted``: our names that columns may have under customary ones (``columns.names``), as an import takes them. What
    was taken for what is said. DataError names at once what is missing and what two columns could be.
    """
    import pandas as pd

    frame = _pandas(value, what, series)
    if isinstance(frame.columns, pd.MultiIndex):
        frame = _below_each_other(frame)
    elif _is_one_field(frame):
        rows = frame.rename_axis(index="datetime", columns="instrument").stack(future_stack=True)
        frame = cast("pd.Series[Any]", rows).dropna().rename(series).reset_index()
    if not set(KEYS) <= set(frame.columns):
        frame = _with_levels(frame)
    frame = _renamed(frame, what, wanted, say)
    twice = frame.columns[frame.columns.duplicated()]
    if len(twice):
        raise DataError(f"{what}: two columns are called {twice[0]}; want one")
    unit = epochs.unit_of(moments.flat(frame["datetime"])) if frame["datetime"].dtype.kind in "iufO" else None
    if unit is not None:
        say([f"{what}: datetimes were taken for {epochs.UNITS[unit]} since 1970, as clocks in UTC show them"])
    return frame


def _is_one_field(frame: pd.DataFrame) -> bool:
    """Whether a frame holds one number for each instrument, side by side, as ``pivot`` leaves it."""
    named = plain(str(frame.columns.name)) in CUSTOMARY["instrument"]
    return named and frame.index.nlevels == 1 and not {*KEYS} & set(frame.columns)


def _renamed(frame: pd.DataFrame, what: str, wanted: Collection[str], say: Say) -> pd.DataFrame:
    """Columns under our names, a date and a time of day as one."""
    told = recognised([name for name in frame.columns if isinstance(name, str)], set(frame.columns), wanted)
    found, doubtful = dict(told.found), dict(told.doubtful)
    when = None
    if told.clock is not None and is_clock(moments.arrow(frame[told.clock])):
        when = joined(frame[found["datetime"]], frame[told.clock], where=what, name=told.clock)
    elif told.clock is not None:
        doubtful["datetime"] = (found.pop("datetime"), told.clock)
    missing = [key for key in KEYS if key not in frame.columns and key not in found and key not in doubtful]
    if missing or doubtful:
        has = ", ".join(map(str, frame.columns[:8])) + (", ..." if len(frame.columns) > 8 else "")
        faults = (
            [f"no column {' and no column '.join(missing)} among {has}; want instrument, datetime"] if missing else []
        )
        faults += [f"{' and '.join(names)} could each be the {ours}; rename one" for ours, names in doubtful.items()]
        raise DataError(f"{what}: {'; '.join(faults)}{_BELOW if 'instrument' in missing else ''}")
    named = {theirs: ours for ours, theirs in found.items()}
    taken = [f"{theirs} as {ours}" for theirs, ours in named.items()]
    taken += [] if when is None else [f"{told.clock} as its time of day"]
    if taken:
        say([f"{what}: columns taken: {', '.join(taken)}"])
    frame = frame.rename(columns=named)
    return frame if when is None else frame.drop(columns=str(told.clock)).assign(datetime=when)


def _below_each_other(frame: pd.DataFrame) -> pd.DataFrame:
    """Columns in two levels as one: of Qlib's the last names a column; instruments side by side become rows.

    Instruments are side by side, as yfinance has them, where the one level are prices and the index has no instruments.
    Before its first value and after its last an instrument was not there.
    """
    levels = [[str(name) for name in frame.columns.get_level_values(i)] for i in range(frame.columns.nlevels)]
    side = _level_of_instruments(levels, frame) if frame.columns.nlevels == 2 and frame.index.nlevels == 1 else None
    if side is None:
        return frame.set_axis([str(names[-1] or names[0]) for names in frame.columns], axis=1)
    rows = frame.rename_axis(index=[str(frame.index.name or "datetime")], columns=["field", "field"])
    rows = rows.rename_axis(columns=["instrument" if i == side else "field" for i in range(2)])
    stacked = cast("pd.DataFrame", rows.stack(level=side, future_stack=True)).rename_axis(columns=None)
    return _while_there(stacked).reset_index("instrument")


def _while_there(stacked: pd.DataFrame) -> pd.DataFrame:
    """The rows of each instrument from the first with a value to the last; those between were suspended."""
    there = stacked.notna().any(axis=1)
    begun = there.groupby(level="instrument").cummax()
    to_end = there[::-1].groupby(level="instrument").cummax()[::-1]
    return stacked[(begun & to_end).to_numpy()]


def _level_of_instruments(levels: list[list[str]], frame: pd.DataFrame) -> int | None:
    """Which of two levels of columns holds instruments, if the other holds prices."""
    prices = [set(_PRICES) <= {plain(name) for name in names} for names in levels]
    called = [plain(str(name)) in CUSTOMARY["instrument"] for name in frame.columns.names]
    if called.count(True) == 1:
        side = called.index(True)
        return side if prices[1 - side] else None
    qlib = set(levels[0]) <= {"feature", "label"}
    return prices.index(False) if prices.count(True) == 1 and not qlib else None


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
    if not any(names):
        dated = [_holds_dates(frame.index.get_level_values(i)) for i in range(frame.index.nlevels)]
        if dated == [True]:
            names = ["datetime"]
        elif len(dated) == 2 and dated.count(True) == 1:
            names = ["datetime" if is_dated else "instrument" for is_dated in dated]
    if not any(plain(name) in CUSTOMARY[key] for name in names for key in KEYS if isinstance(name, str)):
        return frame
    if set(names) & set(frame.columns):
        return frame
    return frame.rename_axis(index=names).reset_index()


def _holds_dates(level: pd.Index[Any]) -> bool:
    import pandas as pd

    kinds = ("datetime64", "datetime", "date", "period")
    return pd.api.types.is_datetime64_any_dtype(level) or pd.api.types.infer_dtype(level, skipna=True) in kinds
