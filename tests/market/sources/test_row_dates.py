"""Dates of rows that are no bars: one clock for daily rows, none across a gap that no market leaves, the rest said."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from raybench.errors import DataError
from raybench.market.sources.clocks import zone_clocks
from raybench.market.sources.row_dates import AS_WRITTEN, RowDates, look_at_dates

NAMES = [f"I{i}" for i in range(8)]
DAYS = pd.bdate_range("2020-01-01", periods=30)


def look(rows: pd.DataFrame, *, leave_out: bool = True) -> RowDates:
    column = pa.array(rows["datetime"])
    wall = rows["datetime"].dt.tz_localize(None) if rows["datetime"].dt.tz is not None else rows["datetime"]
    datetime_R = wall.to_numpy().astype("datetime64[us]")
    zones = zone_clocks(column, datetime_R)
    return look_at_dates(pa.array(rows["instrument"]), datetime_R, zones, "t.parquet", leave_out=leave_out)


def rows(days: pd.DatetimeIndex = DAYS) -> pd.DataFrame:
    return pd.MultiIndex.from_product([NAMES, days], names=["instrument", "datetime"]).to_frame(index=False)


def with_row(frame: pd.DataFrame, name: str, when: str) -> pd.DataFrame:
    return pd.concat([frame, pd.DataFrame({"instrument": [name], "datetime": [pd.Timestamp(when)]})])


def test_what_is_right_stays_as_it_is() -> None:
    assert look(rows()) == AS_WRITTEN
    assert look(rows(DAYS + pd.Timedelta("15:00:00"))) == AS_WRITTEN
    hours = pd.DatetimeIndex([day + pd.Timedelta(hours=h) for day in DAYS for h in (10, 11, 14)])
    assert look(rows(hours)) == AS_WRITTEN
    nothing = look_at_dates(pa.array([], pa.string()), np.array([], "datetime64[us]"), Counter(), "x", leave_out=True)
    assert nothing == AS_WRITTEN


def test_dates_across_a_gap_are_left_out_or_said() -> None:
    frame = with_row(with_row(rows(), "I3", "1970-01-01"), "I4", "2099-12-31")
    found = look(frame.sample(frac=1, random_state=0))
    assert found.left_out == ("1970-01-01", "2099-12-31")
    (line,) = found.told
    assert line.startswith("t.parquet: 2 dates left out, across a gap far longer than a market is closed")
    assert "1970-01-01 (1 of 1 instruments)" in line
    kept = found.kept(np.array(["1970-01-01", "2020-01-02"], "datetime64[us]"))
    assert kept is not None
    assert kept.tolist() == [False, True]
    said = look(frame, leave_out=False)
    assert said.left_out == ()
    assert "2 dates across a gap" in said.told[0]


def test_a_market_that_moved_on_is_no_gap() -> None:
    """As many before as after it, and more dates than a handful."""
    assert look(rows(DAYS.append(pd.bdate_range("2021-01-01", periods=30)))).left_out == ()


def test_a_date_that_hardly_anybody_has_is_said_and_kept() -> None:
    found = look(with_row(rows(), "I0", "2020-01-04"))
    assert found.left_out == ()
    assert [line for line in found.told if "1 date on which hardly anybody has a row, kept: 2020-01-04" in line]


def test_daily_rows_get_the_clock_of_most() -> None:
    frame = rows(DAYS + pd.Timedelta("15:00:00"))
    frame.loc[3, "datetime"] += pd.Timedelta("00:00:07")
    found = look(frame)
    assert found.clock == 15 * 3_600_000_000
    assert (
        "1 daily row with another clock than the rest, taken as of the same date: I0 2020-01-06 15:00:07"
        in found.told[0]
    )
    stamps = found.stamps(frame["datetime"].to_numpy().astype("datetime64[us]"))
    assert len(np.unique(stamps)) == len(DAYS)


def test_two_rows_of_one_daily_date_are_refused() -> None:
    frame = rows(DAYS + pd.Timedelta("15:00:00"))
    twice = with_row(frame, "I2", "2020-01-06 09:30:00")
    with pytest.raises(DataError, match="I2 has two on 2020-01-06, 2020-01-06 09:30:00 and 2020-01-06 15:00:00"):
        look(twice)


def test_a_day_early_is_said() -> None:
    """Midnight in Shanghai, stored in UTC: weeks run from Sunday to Thursday."""
    frame = rows(DAYS.tz_localize("Asia/Shanghai").tz_convert("UTC"))
    (line,) = look(frame).told
    assert "30 dates of daily rows with a clock that is midnight in a zone further east" in line
    naive = frame.assign(datetime=frame["datetime"].dt.tz_localize(None))
    assert look(naive).told == look(frame).told


def test_one_moment_in_two_ways_is_refused() -> None:
    frame = rows()
    text = frame["datetime"].dt.strftime("%Y-%m-%d 00:00:00+08:00")
    late = (frame["datetime"] - pd.Timedelta("08:00:00")).dt.strftime("%Y-%m-%d %H:%M:%S+00:00")
    column = text.where(frame["instrument"] < "I4", late)
    datetime_R = pd.to_datetime(column.str[:19]).to_numpy().astype("datetime64[us]")
    zones = zone_clocks(pa.array(column), datetime_R)
    with pytest.raises(DataError, match="one moment written in two ways"):
        look_at_dates(pa.array(frame["instrument"]), datetime_R, zones, "t.parquet", leave_out=True)
