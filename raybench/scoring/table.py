"""The score table: one small Parquet file for each date, ``SCORES/date=YYYY-MM-DD/scores.parquet``.

    instrument  string
    datetime    timestamp[us], within the date
    score       float32, always a number
    rank        int32, 1 = highest score of that datetime, unique, ties by instrument
    run_id      string, of the training run that the scores come from

Rows are sorted by instrument and datetime. A date is published in one step, so a reader finds it whole or
not at all; temporaries lie beside the folder, not in it, and what is known about a date (run, rows,
coverage) is in the footer of its file. A date written again takes the place of the old one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from raybench.columns.arrow import from_array, from_texts
from raybench.columns.moments import Moment
from raybench.columns.moments import day as _day
from raybench.errors import DataError
from raybench.scoring.foreign import KEYS, read_foreign
from raybench.storage import files, parquet
from raybench.storage.encoding import encode_table
from raybench.storage.versions import ABSENT, OtherVersionError, version, versions
from raybench.storage.whole import READERS, read_each

if TYPE_CHECKING:  # half a second that writing does without
    import pandas as pd

SCHEMA_VERSION = 1
SCHEMA = pa.schema(
    [
        ("instrument", pa.string()),
        ("datetime", pa.timestamp("us")),
        ("score", pa.float32()),
        ("rank", pa.int32()),
        ("run_id", pa.string()),
    ]
)
Day = Moment

_FEW = 16  # dates that are asked for one by one
_FOOTER = "raybench.scores"
_NAME = re.compile(r"^date=(\d{4}-\d{2}-\d{2})/scores\.parquet$")


@dataclass(frozen=True, slots=True, kw_only=True)
class DateFacts:
    """What the footer of one date says.

    ``coverage`` is the share of the universe of that date that has a score, None where the writer did not
    know; ``extra`` holds whatever else the writer recorded.
    """

    run_id: str
    rows: int
    coverage: float | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


def write_date(
    scores_uri: str,
    day: Day,
    scores: pd.DataFrame | Mapping[str, np.ndarray[Any, Any]],
    run_id: str,
    facts: Mapping[str, Any] | None = None,
    over: str | None = None,
) -> bool:
    """Publish the scores of one date from columns instrument, datetime and score, rows in any order.

    ``facts`` go into the footer and have to be plain values; ``coverage`` among them is a share. ``over``: the version
    (``storage.versions``) that alone may be replaced, ABSENT where there was none; False if the very same bytes are
    there already, OtherVersionError if others are.
    """
    day = _day(day)
    table = _table(day, scores, run_id)
    footer = {"schema_version": SCHEMA_VERSION, "run_id": run_id, "rows": table.num_rows, **(facts or {})}
    data = encode_table(table, metadata={_FOOTER: json.dumps(footer, sort_keys=True)})
    uri = date_uri(scores_uri, day)
    try:
        files.publish_bytes(uri, data, staging=files.sibling(scores_uri, ".staging"), over=over)
    except OtherVersionError:
        if files.read_if_there(uri) != data:
            raise
        return False
    return True


def date_uri(scores_uri: str, day: Day) -> str:
    """Where the file of a date lies."""
    return files.join(scores_uri, f"date={_day(day).isoformat()}", "scores.parquet")


def dates(scores_uri: str, start: Day | None = None, end: Day | None = None) -> list[date]:
    """The dates from start to end that are there, in order; one listing and no file is opened.

    DataError if something is named like a date that is none.
    """
    first, last = _day(start or date.min), _day(end or date.max)
    names = files.sizes(scores_uri) if files.is_folder(scores_uri) else {}
    found = (_date_of(scores_uri, match[1]) for match in map(_NAME.search, names) if match)
    return sorted(day for day in found if first <= day <= last)


def _date_of(scores_uri: str, text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise DataError(
            f"{files.join(scores_uri, f'date={text}')}: is no date; remove it, or call it what it is"
        ) from None


def nothing_in(scores_uri: str) -> str:
    """What is to be said of a folder that is laid out by dates and has no date of ours."""
    return (
        f"{scores_uri}: has folders of dates, and none of them a scores.parquet, as a table of another tool "
        "or of a job that was cut off; want a score table, the --to of `raybench score`"
    )


def date_versions(scores_uri: str, only: Collection[date] | None = None) -> dict[date, str]:
    """The version (``storage.versions``) of each date that is there, in order; one listing, or a look at a few."""
    if only is not None and len(only) <= _FEW:
        found = {day: version(date_uri(scores_uri, day)) for day in sorted(only)}
        return {day: seen for day, seen in found.items() if seen != ABSENT}
    listed = ((_NAME.search(name), seen) for name, seen in versions(scores_uri).items())
    every = {date.fromisoformat(match[1]): seen for match, seen in listed if match}
    return {day: every[day] for day in sorted(every) if only is None or day in only}


def newest_date(scores_uri: str, days: Sequence[date], probes: int = 5) -> tuple[date, DateFacts] | None:
    """The newest of ``days`` that is there, and what its footer says; None if none of the last ``probes`` is.

    These few are asked for one by one, for who goes on each morning has all but the last, and a listing would grow
    with the table.
    """
    for day in reversed(days[-probes:]):
        uri = date_uri(scores_uri, day)
        data = files.read_if_there(uri)
        if data is not None:
            return day, _facts_of(uri, data)
    return None


def scored_dates(
    scores_uri: str, start: Day | None = None, end: Day | None = None, *, only: Collection[date] | None = None
) -> dict[date, DateFacts]:
    """What is known about each date that is there (of ``only`` these, which are), in order, from the footers."""
    days = dates(scores_uri, start, end) if only is None else sorted(only)
    uris = [date_uri(scores_uri, day) for day in days]
    known = read_each(uris, _facts_of)
    return dict(zip(days, known, strict=True))


def facts_if_there(scores_uri: str, days: Sequence[date]) -> dict[date, DateFacts]:
    """What is known about each of some dates that is there, in their order; each is asked for, nothing is listed."""

    def read(day: date) -> DateFacts | None:
        uri = date_uri(scores_uri, day)
        data = files.read_if_there(uri)
        return None if data is None else _facts_in(parquet.metadata_of(data, uri), uri)

    with ThreadPoolExecutor(READERS) as pool:
        found = zip(days, pool.map(read, days), strict=True)
        return {day: facts for day, facts in found if facts is not None}


def read_scores(
    scores_uri: str, start: Day | None = None, end: Day | None = None, *, warn: Callable[[str], None] = lambda _: None
) -> pd.DataFrame:
    """The table from start to end, both included, sorted by datetime and instrument.

    A Parquet file or folder without ``date=`` parts is read as well, see ``foreign``, and ``warn`` told what is odd.
    """
    read = _read_days(scores_uri, start, end)
    return read_foreign(scores_uri, start, end, warn=warn) if read is None else _frame(read)


def read_with_facts(
    scores_uri: str, start: Day | None = None, end: Day | None = None, *, warn: Callable[[str], None] = lambda _: None
) -> tuple[pd.DataFrame, dict[date, DateFacts]]:
    """The table as ``read_scores`` has it and what the footers say, each file read once; no facts of a foreign one."""
    read = _read_days(scores_uri, start, end)
    if read is None:
        return read_foreign(scores_uri, start, end, warn=warn), {}
    return _frame(read), {day: _facts_in(pairs, date_uri(scores_uri, day)) for day, (_, pairs) in read.items()}


def _read_days(scores_uri: str, start: Day | None, end: Day | None) -> dict[date, tuple[Any, Mapping[str, str]]] | None:
    """Table and footer of each date; None if there are none at all. DataError if there are others only."""
    listed = dates(scores_uri)
    first, last = _day(start or date.min), _day(end or date.max)
    chosen = [day for day in listed if first <= day <= last]
    if not listed:
        return None
    if not chosen:
        raise DataError(
            f"{scores_uri}: has no scores from {start or 'the start'} to {end or 'the end'}; "
            f"it holds {listed[0]} to {listed[-1]}, change --start or --end"
        )
    uris = [date_uri(scores_uri, day) for day in chosen]
    read = read_each(uris, _table_of)
    return dict(zip(chosen, read, strict=True))


def _frame(read: Mapping[date, tuple[Any, Any]]) -> pd.DataFrame:
    frame: pd.DataFrame = pa.concat_tables([table for table, _ in read.values()]).to_pandas()
    return _sorted(frame)


def rank(score: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Place of each score of one datetime, 1 = highest; of equal ones the first leads."""
    place = np.empty(len(score), dtype=np.int32)
    place[np.argsort(-score, kind="stable")] = np.arange(1, len(score) + 1, dtype=np.int32)
    return place


def _table(day: date, scores: pd.DataFrame | Mapping[str, np.ndarray[Any, Any]], run_id: str) -> Any:
    """Sort, check and rank; without pandas, which would take longer than the forward pass of the date."""
    missing = [name for name in KEYS if name not in scores]
    if missing:
        raise DataError(f"scores of {day}: no column {', '.join(missing)}; want {', '.join(KEYS)}")
    instrument = np.asarray(scores["instrument"], dtype=np.str_)
    when = np.asarray(scores["datetime"], dtype="datetime64[us]")
    score = np.asarray(scores["score"], dtype=np.float32)
    if (instrument[1:] <= instrument[:-1]).any():
        order = np.lexsort((when, instrument))
        instrument, when, score = instrument[order], when[order], score[order]
    _check(day, instrument, when, score)
    place = np.empty(len(score), dtype=np.int32)
    for moment in np.unique(when):
        here = when == moment
        place[here] = rank(score[here])
    numbers = [from_array(c, t) for c, t in zip((when, score, place), SCHEMA.types[1:4], strict=True)]
    columns = [from_texts(instrument.tolist()), *numbers, from_texts([run_id] * len(score))]
    return pa.Table.from_arrays(columns, schema=SCHEMA)


def _check(
    day: date, instrument: np.ndarray[Any, Any], when: np.ndarray[Any, Any], score: np.ndarray[Any, Any]
) -> None:
    if not len(score):
        raise DataError(f"scores of {day}: there is no instrument; want at least one (empty universe?)")
    if (when.astype("datetime64[D]") != np.datetime64(day)).any():
        raise DataError(f"scores of {day}: datetimes run from {when.min()} to {when.max()}; want that date only")
    twice = (instrument[1:] == instrument[:-1]) & (when[1:] == when[:-1])
    if twice.any():
        name = instrument[1:][twice][0]
        raise DataError(f"scores of {day}: {name} is there twice; want one row for each instrument and datetime")
    if not np.isfinite(score).all():
        count = int((~np.isfinite(score)).sum())
        raise DataError(f"scores of {day}: {count} of {len(score)} are NaN or infinite; the run or its input is broken")


def _facts_of(uri: str, data: bytes) -> DateFacts:
    with _told(uri):
        return _facts_in(parquet.metadata_of(data, uri), uri)


def _table_of(uri: str, data: bytes) -> tuple[Any, dict[str, str]]:
    with _told(uri):
        return parquet.table_of(data, uri, SCHEMA.names)


@contextmanager
def _told(uri: str) -> Iterator[None]:
    """Say of a date that is damaged how it is scored again."""
    try:
        yield
    except parquet.DamagedError as error:
        day = uri.rpartition("date=")[2].partition("/")[0]
        text = str(error).removesuffix(parquet.AGAIN)
        raise DataError(f"{text}; raybench score --overwrite --start {day} --end {day} scores it again") from None


def _facts_in(pairs: Mapping[str, str], uri: str) -> DateFacts:
    text = pairs.get(_FOOTER)
    if text is None:
        raise DataError(f"{uri}: is no score file of raybench (no facts in its footer); remove it or score again")
    try:
        footer = json.loads(text)
        coverage = footer.pop("coverage", None)
        return DateFacts(
            run_id=str(footer.pop("run_id")),
            rows=int(footer.pop("rows")),
            coverage=None if coverage is None else float(coverage),
            extra=footer,
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(
            f"{uri}: the facts in its footer cannot be read ({' '.join(str(error).split())}); remove it or score again"
        ) from None


def _sorted(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.sort_values(["datetime", "instrument"], kind="stable", ignore_index=True)
