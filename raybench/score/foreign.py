"""Scores that raybench did not write: Qlib's predictions and anybody's table, brought to our columns.

Read: a Parquet file or a folder of them with the columns (or pandas index levels) instrument, datetime and
score; in Python also a frame with such columns or levels, or a series of scores with such an index. Rows may
come in any order. NaN rule: a score that is null or not finite is NaN, an instrument that was not scored; every
row has an instrument and a datetime, and no pair of them is there twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from raybench.data import parquet, storage
from raybench.errors import DataError

KEYS = ("instrument", "datetime", "score")
_PICKLES = (".pkl", ".pickle", ".p", ".joblib")
_INDEX = "__index_level_"  # pandas stores index levels without a name so


def read_foreign(uri: str, start: parquet.Moment | None = None, end: parquet.Moment | None = None) -> pd.DataFrame:
    """Read somebody's scores from start to end, both included, sorted by datetime and instrument."""
    if not storage.exists(uri) and not storage.is_folder(uri):
        raise DataError(f"{uri}: there is nothing here; want a score table (raybench score --to {uri})")
    if uri.lower().endswith(_PICKLES):
        raise DataError(
            f"{uri}: is a pickle, which could run code, and is not read; in Python, "
            'pandas.read_pickle(...).to_parquet("pred.parquet") keeps Qlib\'s predictions as they are'
        )
    files = parquet.parquet_files(uri)
    columns = _columns(parquet.read_schema(files[0]), uri)
    table = parquet.read_table(files, list(columns.values())).rename_columns(list(columns))
    plain = {name: parquet.wall_time(_decoded(table[name])) for name in KEYS}
    frame = scores_of(pd.DataFrame({name: column.to_pandas() for name, column in plain.items()}), where=uri)
    first, last = parquet.moment(start), parquet.end_moment(end)
    when_R = frame["datetime"].to_numpy("datetime64[us]")
    kept_R = np.ones(len(frame), dtype=bool) if first is None else when_R >= first
    frame = frame[kept_R if last is None else kept_R & (when_R <= last)]
    if frame.empty:
        raise DataError(f"{uri}: has no scores between the dates asked for; change --start or --end")
    return frame.reset_index(drop=True)


def scores_of(scores: pd.DataFrame | pd.Series[Any], *, where: str = "scores") -> pd.DataFrame:
    """Bring a table to instrument (text), datetime (us, no zone), score (float64) and what else it has.

    The result is sorted by datetime and instrument. DataError says which column is missing or unfit.
    """
    frame = scores.to_frame("score") if isinstance(scores, pd.Series) else scores
    if not set(KEYS) <= set(map(str, frame.columns)) and any(name in KEYS for name in frame.index.names):
        frame = frame.reset_index()
    missing = [name for name in KEYS if name not in frame]
    if missing:
        raise DataError(_wanted(where, missing, [str(name) for name in frame.columns]))
    for name in ("instrument", "datetime"):
        absent = int(frame[name].isna().sum())
        if absent:
            raise DataError(f"{where}: {absent:,} of {len(frame):,} rows have no {name}; want one in every row")
    frame = frame.assign(
        instrument=frame["instrument"].astype(str).astype(object),
        datetime=_moments(frame["datetime"], where),
        score=_numbers(frame["score"], where),
    )
    twice = frame.duplicated(["instrument", "datetime"])
    if twice.any():
        row = frame[twice].iloc[0]
        raise DataError(
            f"{where}: {row['instrument']} is there twice on one datetime ({row['datetime']}), as are "
            f"{int(twice.sum()):,} rows in all; want one row for each instrument and datetime"
        )
    return frame.sort_values(["datetime", "instrument"], kind="stable", ignore_index=True)


def _columns(schema: Any, uri: str) -> dict[str, str]:
    """Which column of a file is which of ours; index levels without a name are told by their types."""
    found = {name: name for name in KEYS if name in schema.names}
    for field in schema:
        if field.name.startswith(_INDEX):
            kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
            if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
                found.setdefault("datetime", field.name)
            elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
                found.setdefault("instrument", field.name)
    missing = [name for name in KEYS if name not in found]
    if missing:
        raise DataError(_wanted(uri, missing, schema.names))
    return {name: found[name] for name in KEYS}


def _wanted(where: str, missing: Sequence[str], names: Sequence[str]) -> str:
    has = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    return f"{where}: no column {', '.join(missing)} among {has}; want {', '.join(KEYS)}: rename the columns"


def _decoded(column: Any) -> Any:
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _moments(column: pd.Series[Any], where: str) -> Any:
    """Timestamps or dates, a zone's as its wall clock shows them."""
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        column = column.dt.tz_localize(None)
    if not pd.api.types.is_datetime64_dtype(column):
        if pd.api.types.infer_dtype(column, skipna=True) not in ("date", "datetime", "datetime64"):
            raise DataError(
                f"{where}: column datetime holds {_example(column)}; want timestamps or dates (pandas.to_datetime)"
            )
        column = pd.to_datetime(column)
    return column.astype("datetime64[us]")


def _numbers(column: pd.Series[Any], where: str) -> Any:
    try:
        value = column.astype(np.float64)
    except (TypeError, ValueError):
        raise DataError(f"{where}: column score holds {_example(column)}; want numbers") from None
    return value.where(np.isfinite(value))


def _example(column: pd.Series[Any]) -> str:
    return f"{column.dropna().iloc[0]!r}" if column.notna().any() else str(column.dtype)
