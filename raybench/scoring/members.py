"""What each run of an ensemble said: a file for each date, in a folder beside the score table.

    SCORES.members/date=YYYY-MM-DD/members.parquet

    instrument, datetime    as in the score table
    <run_id>                float32, one column for each run, in the order that they were given; of rolls put together
                            ``seed <n>``, which is a run in each roll

A date's file is published before the date itself, and its footer holds the id of the ensemble: so whoever finds
scores of an ensemble finds what its members said, or knows that it is not there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from raybench.columns.arrow import from_array, from_texts
from raybench.columns.moments import day as _day
from raybench.errors import DataError
from raybench.scoring.table import Day
from raybench.storage import files, parquet
from raybench.storage.whole import read_each

if TYPE_CHECKING:
    import pandas as pd

SUFFIX = ".members"
_FOOTER = "raybench.members"
_KEYS = ("instrument", "datetime")


def members_uri(scores_uri: str, day: Day) -> str:
    """Where the file of a date lies."""
    return files.join(files.sibling(scores_uri, SUFFIX), _name(day))


def _name(day: Day) -> str:
    return f"date={_day(day).isoformat()}/members.parquet"


def write_members(
    scores_uri: str, day: Day, columns: Mapping[str, np.ndarray[Any, Any]], said: Mapping[str, Any], run_id: str
) -> None:
    """Publish what each run said of a date: ``said`` [R] by run, of the rows of ``columns`` instrument and datetime."""
    order = np.lexsort((columns["datetime"], columns["instrument"]))
    when = np.asarray(columns["datetime"], "datetime64[us]")[order]
    table = {
        "instrument": from_texts(np.asarray(columns["instrument"], np.str_)[order].tolist()),
        "datetime": from_array(when, pa.timestamp("us")),
    }
    table |= {name: from_array(np.asarray(score_R, np.float32)[order], pa.float32()) for name, score_R in said.items()}
    files.publish_table(
        members_uri(scores_uri, day),
        pa.table(table),
        metadata={_FOOTER: run_id},
        staging=files.sibling(scores_uri, ".staging"),
    )


def read_members(scores_uri: str, days: Sequence[Day], run_ids: Sequence[str]) -> pd.DataFrame | None:
    """What the members said on those of ``days`` that ensembles of ``run_ids`` scored; None if that is not there.

    Columns instrument, datetime, and a column for each run, NaN where a run had no part in a date's ensemble.
    """
    folder = files.sibling(scores_uri, SUFFIX)
    there = set(files.sizes(folder))

    def take(uri: str, data: bytes) -> Any:
        table, pairs = parquet.table_of(data, uri)
        if pairs.get(_FOOTER) not in run_ids:
            return None
        missing = [name for name in _KEYS if name not in table.column_names]
        if missing:
            raise DataError(f"{uri}: has no column {', '.join(missing)}; score the date again (--overwrite)")
        return table

    uris = [members_uri(scores_uri, day) for day in days if _name(day) in there]
    tables = [table for table in read_each(uris, take) if table is not None]
    return pa.concat_tables(tables, promote_options="default").to_pandas() if tables else None
