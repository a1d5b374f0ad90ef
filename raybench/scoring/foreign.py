"""Scores that raybench did not write: Qlib's predictions and anybody's table, brought to our columns.

Read: a Parquet file or a folder of them with the columns (or pandas index levels) instrument, datetime and
score; in Python also a frame with such columns or levels, or a series of scores with such an index. A ``run_id``
beside them says which run made a row, and is kept, for it decides whose scores they are. Rows may come in any order.
NaN rule: a score that is null or not finite is NaN, an instrument that was not scored; every row has an instrument
and a datetime, and no pair of them is there twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from raybench.columns import moments, numbers
from raybench.columns.frames import long_frame
from raybench.errors import DataError
from raybench.market.quality import clock
from raybench.market.sources.clocks import zone_clocks
from raybench.market.sources.row_dates import look_at_dates
from raybench.storage import files as storage
from raybench.storage import parquet

if TYPE_CHECKING:  # half a second that writing scores does without
    import pandas as pd

KEYS = ("instrument", "datetime", "score")
RUN_ID = "run_id"
NO_RUN = "(none)"
"""What rows without an id carry beside rows that have one."""
_PICKLES = (".pkl", ".pickle", ".p", ".joblib")
_TEXTS = (".csv", ".csv.gz", ".tsv", ".txt")
_INDEX = "__index_level_"  # pandas stores index levels without a name so


Warn = Callable[[str], None]


def read_foreign(
    uri: str,
    start: moments.Moment | None = None,
    end: moments.Moment | None = None,
    *,
    warn: Warn = lambda _: None,
) -> pd.DataFrame:
    """Read somebody's scores from start to end, both included, sorted by datetime and instrument.

    Their dates go by the rules for dates of bars (``row_dates``); ``warn`` is told what is odd about them.
    """
    if not storage.exists(uri) and not storage.is_folder(uri):
        raise DataError(f"{uri}: there is nothing here; want a score table (raybench score --to {uri})")
    if uri.lower().endswith(_PICKLES):
        raise DataError(
            f"{uri}: is a pickle, which could run code, and is not read; in Python, "
            'pandas.read_pickle(...).to_parquet("pred.parquet") keeps Qlib\'s predictions as they are'
        )
    if uri.lower().endswith(_TEXTS):
        raise DataError(
            f"{uri}: scores are read from Parquet; in Python, "
            'pandas.read_csv(..., dtype={"instrument": str}).to_parquet("scores.parquet") makes it of CSV'
        )
    import pandas as pd

    files = parquet.parquet_files(uri)
    table = pa.concat_tables([_read(file, uri) for file in files], promote_options="permissive")
    beside = pd.DataFrame({RUN_ID: table[RUN_ID].to_pandas()} if RUN_ID in table.column_names else {})
    frame = _checked(table["instrument"], table["datetime"], table["score"], beside, uri, warn)
    first, last = moments.moment(start, "--start"), moments.end_moment(end, "--end")
    when_R = frame["datetime"].to_numpy("datetime64[us]")
    kept_R = np.ones(len(frame), dtype=bool) if first is None else when_R >= first
    frame = frame[kept_R if last is None else kept_R & (when_R <= last)]
    if frame.empty:
        raise DataError(f"{uri}: has no scores between the dates asked for; change --start or --end")
    return frame.reset_index(drop=True)


def scores_of(
    scores: pd.DataFrame | pd.Series[Any], *, where: str = "scores", warn: Warn = lambda _: None
) -> pd.DataFrame:
    """Bring a table to instrument (text), datetime (us, no zone), score (float64) and what else it has.

    The result is sorted by datetime and instrument. DataError says which column is missing or unfit, ``warn`` is told
    what is odd about the dates.
    """
    frame = long_frame(scores, what=where)
    missing = [name for name in KEYS if name not in frame]
    if missing:
        raise DataError(_wanted(where, missing, [str(name) for name in frame.columns]))
    beside = frame.reset_index(drop=True)
    return _checked(frame["instrument"], frame["datetime"], frame["score"], beside, where, warn)


def _read(file: str, uri: str) -> Any:
    """Our columns of one file; files of one folder may differ in what they call them and in having a run_id."""
    schema = parquet.read_schema(file)
    columns = _columns(schema, uri) | ({RUN_ID: RUN_ID} if RUN_ID in schema.names else {})
    table = parquet.read_table(file, list(columns.values())).rename_columns(list(columns))
    if RUN_ID not in columns:
        return table
    return table.set_column(table.column_names.index(RUN_ID), RUN_ID, _texts(table[RUN_ID]))


def _texts(ids: Any) -> Any:
    """Ids of whatever type as text; one that is null or NaN is null."""
    if pa.types.is_dictionary(ids.type):
        return _texts(ids.cast(ids.type.value_type))
    if pa.types.is_binary(ids.type) or pa.types.is_large_binary(ids.type):
        return pa.chunked_array([[None if value is None else str(value) for value in ids.to_pylist()]], pa.string())
    if pa.types.is_floating(ids.type):
        ids = pc.if_else(pc.is_nan(ids), None, ids)
    return ids.cast(pa.string())


def _with_ids(frame: pd.DataFrame) -> pd.DataFrame:
    """The ids as text, NO_RUN where a row has none; no column where no row has one."""
    if RUN_ID not in frame:
        return frame
    known_R = frame[RUN_ID].notna()
    if not known_R.any():
        return frame.drop(columns=RUN_ID)
    return frame.assign(run_id=frame[RUN_ID].astype(object).map(str).where(known_R, NO_RUN))


def _checked(instrument: Any, when: Any, score: Any, beside: pd.DataFrame, where: str, warn: Warn) -> pd.DataFrame:
    """The three columns in our types, with what else there is; sorted."""
    value = numbers.doubles(score, "score", where=where)
    names = moments.names(instrument, where=where)
    when_R = moments.datetimes(when, where=where)
    # bars say which dates are dates, and what lies on others is left out and named where scores meet them
    dates = look_at_dates(names, when_R, zone_clocks(when, when_R), where, leave_out=False)
    for line in dates.told:
        warn(line)
    frame = beside.assign(
        instrument=names.to_numpy(zero_copy_only=False),
        datetime=dates.stamps(when_R),
        score=np.where(np.isfinite(value), value, np.nan),
    )
    twice = frame.duplicated(["instrument", "datetime"])
    if twice.any():
        row = frame[twice].iloc[0]
        when = clock(np.datetime64(row["datetime"]))
        raise DataError(
            f"{where}: {row['instrument']} is there twice on one datetime ({when}), as are "
            f"{int(twice.sum()):,} rows in all; want one row for each instrument and datetime"
        )
    return _with_ids(frame).sort_values(["datetime", "instrument"], kind="stable", ignore_index=True)


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
