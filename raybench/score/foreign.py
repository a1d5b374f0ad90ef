"""Scores that raybench did not write: Qlib's predictions and anybody's table, brought to our columns.

Read: a Parquet file or a folder of them with the columns (or pandas index levels) instrument, datetime and
score; in Python also a frame with such columns or levels, or a series of scores with such an index. Rows may
come in any order. NaN rule: a score that is null or not finite is NaN, an instrument that was not scored; every
row has an instrument and a datetime, and no pair of them is there twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from raybench.data import moments, numbers, parquet, storage
from raybench.data.frames import long_frame
from raybench.errors import DataError

if TYPE_CHECKING:  # half a second that writing scores does without
    import pandas as pd

KEYS = ("instrument", "datetime", "score")
_PICKLES = (".pkl", ".pickle", ".p", ".joblib")
_INDEX = "__index_level_"  # pandas stores index levels without a name so


def read_foreign(uri: str, start: moments.Moment | None = None, end: moments.Moment | None = None) -> pd.DataFrame:
    """Read somebody's scores from start to end, both included, sorted by datetime and instrument."""
    if not storage.exists(uri) and not storage.is_folder(uri):
        raise DataError(f"{uri}: there is nothing here; want a score table (raybench score --to {uri})")
    if uri.lower().endswith(_PICKLES):
        raise DataError(
            f"{uri}: is a pickle, which could run code, and is not read; in Python, "
            'pandas.read_pickle(...).to_parquet("pred.parquet") keeps Qlib\'s predictions as they are'
        )
    import pandas as pd

    files = parquet.parquet_files(uri)
    columns = _columns(parquet.read_schema(files[0]), uri)
    table = parquet.read_table(files, list(columns.values())).rename_columns(list(columns))
    frame = _checked(table["instrument"], table["datetime"], table["score"], pd.DataFrame(), uri)
    first, last = moments.moment(start, "--start"), moments.end_moment(end, "--end")
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
    frame = long_frame(scores, what=where)
    missing = [name for name in KEYS if name not in frame]
    if missing:
        raise DataError(_wanted(where, missing, [str(name) for name in frame.columns]))
    return _checked(frame["instrument"], frame["datetime"], frame["score"], frame.reset_index(drop=True), where)


def _checked(instrument: Any, when: Any, score: Any, beside: pd.DataFrame, where: str) -> pd.DataFrame:
    """The three columns in our types, with what else there is; sorted."""
    value = numbers.doubles(score, "score", where=where)
    frame = beside.assign(
        instrument=moments.names(instrument, where=where).to_numpy(zero_copy_only=False),
        datetime=moments.datetimes(when, where=where),
        score=np.where(np.isfinite(value), value, np.nan),
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
