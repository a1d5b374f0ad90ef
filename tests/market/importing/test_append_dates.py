"""Which dates an append adds: those on which hardly anybody has a bar, those that come late, and who is suspended."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from raybench.errors import DataError
from raybench.market.bars import open_bars
from raybench.market.census import DateRules
from tests.market.importing.worlds import DAYS, append, assert_same_content, files_of, flat, full

pytestmark = pytest.mark.usefixtures("small_files")


def test_a_source_without_the_suspended_takes_nothing_away_and_is_completed(tmp_path: Path) -> None:
    rows = flat(6, 60)
    full(rows[rows["datetime"] < DAYS[50]], {}, tmp_path)
    quiet = (rows["instrument"] == "I1") & (rows["datetime"] >= DAYS[40])  # among them dates that are there with bars
    for k in range(50, 60):
        day = rows[(rows["datetime"] == DAYS[k]) & ~quiet]
        if k == 59:
            day = rows[rows["datetime"] == DAYS[k]]
        assert append(day, {}, tmp_path).appended.changed == {}
    one = open_bars(tmp_path / "bars").block(["I1"], ["close"])
    assert np.flatnonzero(np.isnan(one.fields["close"])).tolist() == list(range(50, 59))


def test_a_date_on_which_hardly_anybody_has_a_bar_is_refused_by_name(tmp_path: Path) -> None:
    rows = flat(20, 60)
    full(rows[rows["datetime"] < DAYS[59]], {}, tmp_path)
    before = files_of(tmp_path / "bars")
    stray = rows[(rows["datetime"] == DAYS[59]) & (rows["instrument"] == "I7")]
    holiday = str(DAYS[59].date())
    with pytest.raises(DataError, match=rf"hardly anybody has a bar on {holiday} \(1 of 20 inst.*--calendar FILE"):
        append(stray, {}, tmp_path, rules=None)
    assert files_of(tmp_path / "bars") == before
    stays = append(pd.concat([stray, rows[rows["datetime"] == DAYS[58]]]), {}, tmp_path, rules=listed(DAYS[:59]))
    assert not stays.changed
    few = rows[(rows["datetime"] == DAYS[59]) & rows["instrument"].isin(["I7", "I8", "I9"])]
    assert append(few, {}, tmp_path, rules=None).appended.last == holiday  # three of twenty are more than a tenth
    everybody = append(rows[rows["datetime"] == DAYS[59]], {}, tmp_path, rules=None)
    assert (everybody.appended.dates, everybody.appended.rows) == (0, 17)


def listed(days: Any) -> DateRules:
    return DateRules(days=days.to_numpy().astype("datetime64[D]"))


def test_the_stray_date_of_a_table_with_history_is_refused_too(tmp_path: Path) -> None:
    rows = flat(20, 60)
    full(rows[rows["datetime"] < DAYS[50]], {}, tmp_path)
    saturday = rows.iloc[[0]].assign(datetime=pd.Timestamp("2020-03-28"), close=9.0)
    with pytest.raises(DataError, match="hardly anybody has a bar on 2020-03-28"):
        append(pd.concat([rows, saturday]), {}, tmp_path, rules=None)
    early = saturday.assign(datetime=pd.Timestamp("2020-01-11"))  # said when that was imported, and left out then
    assert append(pd.concat([rows, early]), {}, tmp_path, rules=None).appended.dates == 10


def test_a_date_that_was_missing_in_the_middle_is_put_there_for_all(tmp_path: Path) -> None:
    rows = flat(6, 60)
    full(rows[rows["datetime"] != DAYS[30]], {}, tmp_path)
    late = append(rows[rows["datetime"].isin([DAYS[30]]) & (rows["instrument"] < "I4")], {}, tmp_path)
    assert late.appended.dates == 1
    full(rows[(rows["datetime"] != DAYS[30]) | (rows["instrument"] < "I4")], {}, tmp_path / "once")
    assert_same_content(open_bars(tmp_path / "bars"), open_bars(tmp_path / "once" / "bars"))
