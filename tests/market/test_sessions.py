"""What an exchange's sessions say of a calendar."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from raybench.errors import DataError
from raybench.market.bars import open_bars
from raybench.market.importing.append import AppendResult, append_bars
from raybench.market.importing.job import import_bars
from raybench.market.sessions import check_market, last_closed, session_findings, sessions
from raybench.market.sources import open_source

JANUARY = pd.date_range("2020-01-02", "2020-02-10")
OPEN = [day for day in JANUARY if day.day_of_week < 5 and not "2020-01-24" <= str(day.date()) <= "2020-02-02"]


def test_the_new_year_of_shanghai_is_known() -> None:
    days = sessions("XSHG", np.datetime64("2020-01-02"), np.datetime64("2020-02-10"))
    assert days.tolist() == [day.date() for day in OPEN]
    assert len(sessions("24/7", np.datetime64("2020-01-01"), np.datetime64("2020-01-31"))) == 31


def test_dates_of_which_nothing_is_recorded_are_not_judged() -> None:
    days = sessions("XSHG", np.datetime64("1980-01-02"), np.datetime64("1991-02-01"))
    assert len(days)
    assert days[0] >= np.datetime64("1990-12-01")
    old = np.arange("1970-01-05", "1970-02-01", dtype="datetime64[D]").astype("datetime64[us]")
    assert session_findings("XSHG", old) == {}


def test_what_is_missing_and_what_is_too_much_is_named() -> None:
    there = np.array([*OPEN[:5], *OPEN[6:], pd.Timestamp("2020-01-28")], "datetime64[us]")
    found = session_findings("XSHG", np.sort(there))
    assert found["session_without_bars"].examples == (str(OPEN[5].date()),)
    assert found["date_without_session"].examples == ("2020-01-28",)


@pytest.mark.parametrize(
    ("name", "now", "newest"),
    [
        ("XSHG", "2020-02-03T06:59+00:00", "2020-01-23"),  # before it closes, at 15:00 in Shanghai
        ("XSHG", "2020-02-03T07:00+00:00", "2020-02-03"),
        ("XSHG", "2020-02-03T15:30+08:00", "2020-02-03"),
        ("XNYS", "2019-11-29T18:00+00:00", "2019-11-29"),  # half a day
        ("XNYS", "2019-12-01T12:00+00:00", "2019-11-29"),
        ("24/7", "2020-01-05T00:00+00:00", "2020-01-04"),
    ],
)
def test_a_session_counts_from_its_close(name: str, now: str, newest: str) -> None:
    assert str(last_closed(name, datetime.fromisoformat(now))) == newest


def test_nothing_is_said_of_sessions_that_nobody_has_recorded() -> None:
    assert last_closed("XSHG", datetime(1980, 1, 2, tzinfo=UTC)) is None


def test_another_name_is_refused() -> None:
    assert check_market("XNYS") == "XNYS"
    with pytest.raises(DataError, match=r"--market SHANGHAI: is no exchange .* XSHG, XNYS, 24/7"):
        check_market("SHANGHAI")


def test_an_import_says_it_and_an_append_of_the_new_dates(tmp_path: Path) -> None:
    rows = pd.DataFrame([(f"I{i}", day) for i in range(6) for day in OPEN], columns=["instrument", "datetime"])
    rows = rows.assign(open=1.0, high=1.0, low=1.0, close=np.arange(len(rows)) + 1.0, volume=1.0)
    rows = rows[~rows["datetime"].isin([OPEN[3], OPEN[-2]])]
    for name, kept in (("old", rows["datetime"] < OPEN[-4]), ("new", rows["datetime"] >= OPEN[-6])):
        rows[kept].to_parquet(tmp_path / f"{name}.parquet")
    first = import_bars(open_source(tmp_path / "old.parquet"), tmp_path / "bars", market="XSHG")
    assert [line for line in first.warnings if str(OPEN[3].date()) in line and "--market" in line]
    done = append_bars(open_source(tmp_path / "new.parquet"), tmp_path / "bars")
    assert isinstance(done, AppendResult)
    assert [line for line in done.warnings if str(OPEN[-2].date()) in line]
    assert not [line for line in done.warnings if str(OPEN[3].date()) in line]
    assert open_bars(tmp_path / "bars").metadata.warnings["session_without_bars"]["count"] == 2


def test_a_newest_date_on_a_holiday_is_named() -> None:
    there = np.array([*OPEN[:16], pd.Timestamp("2020-01-25")], "datetime64[us]")
    assert session_findings("XSHG", there, there[-2])["date_without_session"].examples == ("2020-01-25",)
