"""Dates that an append adds, judged beside the bars that are there: past ones and new ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from raybench.errors import DataError
from raybench.market.bars import open_bars
from raybench.market.census import DateRules
from raybench.market.universe import Universe, universe_of_frame
from tests.market.importing.worlds import (
    DAYS,
    append,
    assert_same_content,
    files_of,
    flat,
    full,
)

SATURDAY = pd.Timestamp("2020-02-08")


def pool(members: int) -> dict[str, Universe]:
    spans = pd.DataFrame({"instrument": [f"I{i}" for i in range(members)], "start": DAYS[0], "end": pd.NaT})
    return {"pool": universe_of_frame("pool", spans)}


def dated(rows: pd.DataFrame, when: pd.Timestamp) -> pd.DataFrame:
    return rows.groupby("instrument").head(1).assign(datetime=when)


@pytest.mark.parametrize(
    ("when", "members", "bring", "says"),
    [
        (SATURDAY, 0, ["I3"], r"2020-02-08 \(1 of 20 instruments\)"),
        (SATURDAY, 8, ["I18", "I19", "I17"], r"2020-02-08 \(0 of 8 members\)"),
        (pd.Timestamp("1970-01-01"), 0, ["I3"], r"1970-01-01 \(1 instrument, across a long gap\)"),
        (pd.Timestamp("2099-12-31"), 0, [f"I{k}" for k in range(9)], r"2099-12-31 \(9 instruments, across a long gap"),
    ],
)
def test_a_stray_date_is_refused_by_name_wherever_it_lies(
    tmp_path: Path, when: pd.Timestamp, members: int, bring: list[str], says: str
) -> None:
    rows = flat(20, 60)
    universes = pool(members) if members else {}
    full(rows, universes, tmp_path)
    before = files_of(tmp_path / "bars")
    stray = dated(rows[rows["instrument"].isin(bring)], when)
    with pytest.raises(DataError, match=rf"hardly anybody has a bar on {says}.*--calendar FILE"):
        append(stray, universes, tmp_path, rules=None)
    assert files_of(tmp_path / "bars") == before


def test_a_stray_date_that_is_wanted_is_taken_and_named(tmp_path: Path) -> None:
    rows = flat(20, 60)
    full(rows, {}, tmp_path)
    done = append(dated(rows[rows["instrument"] == "I3"], SATURDAY), {}, tmp_path)
    assert any("2020-02-08 (1 of 20 instruments)" in line for line in done.warnings)
    bars = open_bars(tmp_path / "bars")
    assert bars.metadata.warnings["date_with_few_bars"] == {
        "count": 1,
        "examples": ["2020-02-08 (1 of 20 instruments)"],
    }
    every = pd.concat([rows, dated(rows[rows["instrument"] == "I3"], SATURDAY)])
    full(every, {}, tmp_path / "once")
    assert_same_content(bars, open_bars(tmp_path / "once" / "bars"))
    assert bars.metadata.warnings == open_bars(tmp_path / "once" / "bars").metadata.warnings


def test_a_date_that_was_forgotten_is_taken_by_default(tmp_path: Path) -> None:
    rows = flat(20, 60)
    full(rows[rows["datetime"] != DAYS[30]], {}, tmp_path)
    late = append(rows[rows["datetime"] == DAYS[30]], {}, tmp_path, rules=None)
    assert (late.appended.first, late.warnings) == (str(DAYS[30].date()), ())


@pytest.mark.parametrize("bring", ["one", "all"])
def test_a_correction_of_long_ago_is_a_correction(tmp_path: Path, bring: str) -> None:
    """The newest dates, and one bar across a gap for which a date of its own would be astray."""
    rows = flat(20, 120)
    full(rows[rows["datetime"] < DAYS[118]], {}, tmp_path)
    wrong = (rows["instrument"] == "I3") & (rows["datetime"] == DAYS[2])
    right = rows.assign(close=rows["close"] + wrong * 0.25)
    old = wrong if bring == "one" else rows["datetime"] == DAYS[2]
    done = append(right[old | (rows["datetime"] >= DAYS[115])], {}, tmp_path, rules=None)
    assert done.appended.changed == {"I3": str(DAYS[2].date())}
    assert done.warnings == ()
    full(right, {}, tmp_path / "once")
    assert_same_content(open_bars(tmp_path / "bars"), open_bars(tmp_path / "once" / "bars"))


def test_bars_that_are_rare_by_nature_make_new_dates(tmp_path: Path) -> None:
    """Of fifty instruments each has a bar every twentieth date, which is fewer than a tenth of them on each."""
    rows = flat(50, 120)
    rows = rows[(np.arange(len(rows)) + rows.groupby("instrument").ngroup()) % 20 == 0]
    full(rows[rows["datetime"] < DAYS[110]], {}, tmp_path)
    assert append(rows[rows["datetime"] >= DAYS[110]], {}, tmp_path, rules=None).appended.dates == 10


@pytest.mark.parametrize("step", ["new date", "more of it"])
def test_a_newest_date_for_fewer_than_half_is_named_until_it_is_whole(tmp_path: Path, step: str) -> None:
    rows = flat(20, 60)
    full(rows[rows["datetime"] < DAYS[59]], {}, tmp_path)
    last = rows[rows["datetime"] == DAYS[59]]
    part = append(last.head(6), {}, tmp_path, rules=None)
    newest = f"{DAYS[59].date()} (6 instruments, 20 the date before)"
    assert [line for line in part.warnings if newest in line] != []
    assert open_bars(tmp_path / "bars").metadata.warnings["newest_date_incomplete"]["examples"] == [newest]
    if step == "more of it":
        more = append(last.iloc[6:9], {}, tmp_path, rules=None)
        assert [line for line in more.warnings if "(9 instruments, 20 the date before)" in line] != []
    assert append(last, {}, tmp_path, rules=None).warnings == ()
    assert "newest_date_incomplete" not in open_bars(tmp_path / "bars").metadata.warnings


@pytest.mark.parametrize("bring", ["alone", "with the date before"])
def test_a_newest_date_that_is_filled_forward_is_named_until_it_is_whole(tmp_path: Path, bring: str) -> None:
    rows = flat(20, 60)
    rows["close"] = rows["close"] + 1e-3 * np.arange(len(rows))
    full(rows[rows["datetime"] < DAYS[59]], {}, tmp_path)
    before, last = (rows[rows["datetime"] == day] for day in DAYS[58:60])
    filled = before.assign(datetime=DAYS[59], volume=0.0)
    filled = pd.concat([before] * (bring != "alone") + [last.head(3), filled.iloc[3:]])
    newest = f"{DAYS[59].date()} (3 of 20 instruments with a bar of its own)"
    assert [line for line in append(filled, {}, tmp_path, rules=None).warnings if newest in line] != []
    warnings = open_bars(tmp_path / "bars").metadata.warnings
    assert warnings["newest_date_filled_forward"]["examples"] == [newest]
    assert append(last, {}, tmp_path, rules=None).warnings == ()
    assert "newest_date_filled_forward" not in open_bars(tmp_path / "bars").metadata.warnings


def test_a_new_date_on_a_weekend_is_named(tmp_path: Path) -> None:
    rows = flat(20, 60)
    full(rows[rows["datetime"] < SATURDAY], {}, tmp_path)
    done = append(dated(rows, SATURDAY), {}, tmp_path, rules=None)
    assert [line for line in done.warnings if "on a Saturday or Sunday" in line and "2020-02-08" in line] != []


def test_a_new_moment_of_one_is_named(tmp_path: Path) -> None:
    rows = flat(8, 90)
    hours = np.array([DAYS[k // 3] + pd.Timedelta(hours=10 + k % 3) for k in range(90)])
    rows["datetime"] = hours[np.searchsorted(DAYS[:90], rows["datetime"])]
    full(rows[rows["datetime"] < DAYS[28]], {}, tmp_path)
    late = rows[rows["datetime"] >= DAYS[28]]
    stray = late.head(1).assign(datetime=DAYS[29] + pd.Timedelta("03:17:00"))
    done = append(pd.concat([late, stray]), {}, tmp_path, rules=None)
    assert [line for line in done.warnings if f"{DAYS[29].date()} 03:17:00 (1 instrument)" in line] != []


def listed(days: Any) -> DateRules:
    return DateRules(days=days.to_numpy().astype("datetime64[D]"))


def test_a_listed_date_that_nobody_has_lies_between_the_bars_and_what_comes(tmp_path: Path) -> None:
    rows = flat(6, 60)
    rules = listed(DAYS)
    full(rows[rows["datetime"] < DAYS[56]], {}, tmp_path, rules=rules)
    come = rows[rows["datetime"] == DAYS[57]]
    done = append(come, {}, tmp_path, rules=rules)
    assert (done.appended.dates, done.appended.first) == (2, str(DAYS[56].date()))
    full(rows[(rows["datetime"] < DAYS[58]) & (rows["datetime"] != DAYS[56])], {}, tmp_path / "once", rules=rules)
    assert_same_content(open_bars(tmp_path / "bars"), open_bars(tmp_path / "once" / "bars"))
    assert not append(come, {}, tmp_path, rules=rules).changed


def test_a_weekday_without_bars_before_the_new_dates_is_named(tmp_path: Path) -> None:
    rows = flat(6, 60)
    full(rows[rows["datetime"] < DAYS[55]], {}, tmp_path)
    done = append(rows[rows["datetime"] > DAYS[55]], {}, tmp_path, rules=None)
    assert [line for line in done.warnings if "1 weekday before the new dates" in line and str(DAYS[55].date()) in line]
    assert open_bars(tmp_path / "bars").metadata.warnings["weekday_without_bars"] == {
        "count": 1,
        "examples": [str(DAYS[55].date())],
    }


@pytest.mark.parametrize("rules", [None, DateRules(min_coverage=0.0)])
def test_minute_bars_at_noon_and_at_the_close_are_those_of_one_import(tmp_path: Path, rules: DateRules | None) -> None:
    minutes = [day + pd.Timedelta(hours=9, minutes=30 + k) for day in DAYS[:6] for k in range(8)]
    rows = pd.concat([flat(6, 1).assign(datetime=when, volume=1.0 + k) for k, when in enumerate(minutes)])
    rows = rows.sort_values(["instrument", "datetime"], ignore_index=True)
    clock = rows["datetime"] - rows["datetime"].dt.normalize()
    day, noon = rows["datetime"].dt.normalize(), clock <= pd.Timedelta(hours=9, minutes=33)
    full(rows[day < DAYS[3]], {}, tmp_path)
    for date in DAYS[3:6]:
        append(rows[(day == date) & noon & (rows["instrument"] != "I5")], {}, tmp_path, rules=rules)
        done = append(rows[day == date], {}, tmp_path, rules=rules)
        assert (done.appended.dates, done.warnings) == (0, ())
    full(rows, {}, tmp_path / "once")
    assert open_bars(tmp_path / "bars").frequency == "1min"
    assert_same_content(open_bars(tmp_path / "bars"), open_bars(tmp_path / "once" / "bars"))
