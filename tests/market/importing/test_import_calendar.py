"""Which dates of a table become its calendar: a stray row, a live row or an empty weekend moves nobody's windows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from raybench.cli.app import run
from raybench.errors import DataError
from raybench.market.bars import open_bars
from raybench.market.census import DateRules
from raybench.market.importing.job import ImportResult, import_bars
from raybench.market.sources import open_source
from raybench.market.sources.days_file import read_days
from raybench.market.universe import universe_of_frame

DAYS = pd.bdate_range("2020-01-06", periods=30)  # a Monday
SATURDAY, SUNDAY = "2020-01-18", "2020-01-19"
FIELDS = ["open", "high", "low", "close", "volume"]


def market(instruments: int = 8, days: Any = DAYS) -> pd.DataFrame:
    names = [f"I{i}" for i in range(instruments)]
    frame = pd.DataFrame([(n, d) for n in names for d in days], columns=["instrument", "datetime"])
    return frame.assign(open=10.0, high=1e4, low=0.5, close=np.arange(len(frame)) + 1.0, volume=10.0)


def row(instrument: str, when: str) -> pd.DataFrame:
    return market(1).iloc[[0]].assign(instrument=instrument, datetime=pd.Timestamp(when), close=9.0)


def pool(members: int) -> dict[str, Any]:
    spans = pd.DataFrame({"instrument": [f"I{i}" for i in range(members)], "start": "2020-01-01", "end": None})
    return {"pool": universe_of_frame("pool", spans)}


def put(
    frame: pd.DataFrame, folder: Path, *, members: int = 0, frequency: str | None = None, **rules: Any
) -> ImportResult:
    frame.to_parquet(folder / "bars.parquet", index=False)
    source = open_source(folder / "bars.parquet", frequency=frequency)
    chosen = DateRules(**rules) if rules else None
    return import_bars(source, folder / "bars", universes=pool(members) if members else None, rules=chosen)


def assert_as_without(done: ImportResult, frame: pd.DataFrame, folder: Path) -> None:
    """The bars are those of ``frame``, as if nothing else had been there."""
    (folder / "clean").mkdir()
    clean = put(frame, folder / "clean")
    pd.testing.assert_frame_equal(open_bars(done.uri).block().to_frame(), open_bars(clean.uri).block().to_frame())
    np.testing.assert_array_equal(open_bars(done.uri).calendar, open_bars(clean.uri).calendar)


def examples(done: ImportResult, name: str) -> list[str]:
    return list(done.metadata.warnings[name]["examples"])


@pytest.mark.parametrize("members", [0, 6])
def test_a_row_of_one_on_a_saturday_is_left_out_and_named(tmp_path: Path, members: int) -> None:
    done = put(pd.concat([market(), row("I7", SATURDAY)]), tmp_path, members=members)
    assert_as_without(done, market(), tmp_path)
    assert SATURDAY in examples(done, "left_out_date_with_few_bars")[0]
    assert examples(done, "left_out_row") == [f"I7 {SATURDAY}"]
    assert any(SATURDAY in line and "--calendar" in line for line in done.warnings)


def test_some_who_are_no_members_make_no_date_either(tmp_path: Path) -> None:
    done = put(pd.concat([market(), row("I6", SATURDAY), row("I7", SATURDAY)]), tmp_path, members=6)
    assert examples(done, "left_out_date_with_few_bars") == [f"{SATURDAY} (0 of 6 members)"]


def test_members_who_are_all_suspended_do_not_take_the_date_away(tmp_path: Path) -> None:
    """A universe of two whose members pause for a week, and one of five while most others trade."""
    frame = market(20)
    pause = frame["datetime"].between("2020-01-20", "2020-01-24")
    for members in (2, 5):
        folder = tmp_path / str(members)
        folder.mkdir()
        done = put(
            frame[~(pause & frame["instrument"].isin(pool(members)["pool"].instruments))], folder, members=members
        )
        assert done.metadata.dates == len(DAYS)


def test_a_coverage_of_nothing_keeps_every_date_and_names_it(tmp_path: Path) -> None:
    done = put(pd.concat([market(), row("I7", SATURDAY)]), tmp_path, min_coverage=0.0)
    assert done.metadata.dates == len(DAYS) + 1
    assert examples(done, "date_with_few_bars") == [f"{SATURDAY} (1 of 8 instruments)"]
    assert any(SATURDAY in line for line in done.warnings)


@pytest.mark.parametrize("instruments", [1, 2, 3])
def test_few_instruments_with_dates_of_their_own_are_taken(tmp_path: Path, instruments: int) -> None:
    frame = market(instruments).iloc[::3]
    done = put(frame, tmp_path)
    assert done.metadata.dates == frame["datetime"].nunique()


def test_bars_that_are_rare_by_nature_are_taken(tmp_path: Path) -> None:
    """Of fifty instruments each has a bar every twentieth date."""
    frame = market(50, pd.bdate_range("2018-01-01", periods=400))
    frame = frame[(frame.index + frame.groupby("instrument").ngroup()) % 20 == 0]
    assert put(frame, tmp_path).metadata.dates == frame["datetime"].nunique()


def test_the_newest_date_stays_however_few_have_it_and_is_named(tmp_path: Path) -> None:
    frame = market()
    partial = frame[(frame["datetime"] < DAYS[-1]) | (frame["instrument"] == "I0")]
    done = put(partial, tmp_path, members=6)
    assert done.metadata.last == str(DAYS[-1].date())
    assert examples(done, "newest_date_incomplete") == [f"{DAYS[-1].date()} (1 instrument, 8 the date before)"]


def test_two_calendars_in_one_are_refused_with_what_helps(tmp_path: Path) -> None:
    coin = market(1, pd.date_range(DAYS[0], DAYS[-1])).assign(instrument="COIN")
    both = pd.concat([market(), coin])
    with pytest.raises(DataError, match=r"on 10 of 40 dates .*2020-01-11 \(1 of 9 inst.*--calendar FILE.*coverage 0"):
        put(both, tmp_path)
    assert put(both, tmp_path, min_coverage=0.0).metadata.dates == 40


def test_dates_on_which_nobody_has_a_price_go(tmp_path: Path) -> None:
    days = pd.date_range(DAYS[0], DAYS[-1])
    index = pd.MultiIndex.from_product([market()["instrument"].unique(), days], names=["instrument", "datetime"])
    frame = market().set_index(["instrument", "datetime"]).reindex(index).reset_index()
    done = put(frame.assign(volume=frame["volume"].fillna(0)), tmp_path)
    assert_as_without(done, market(), tmp_path)
    assert done.metadata.warnings["left_out_date_without_bars"]["count"] == 10


def every_day(frame: pd.DataFrame, how: str) -> pd.DataFrame:
    """The frame with rows on weekends as those write them who have no word for nothing."""
    days = pd.date_range(DAYS[0], DAYS[-1])
    index = pd.MultiIndex.from_product([frame["instrument"].unique(), days], names=["instrument", "datetime"])
    full = frame.set_index(["instrument", "datetime"]).reindex(index)
    hole, before = full["close"].isna(), full.groupby(level=0).ffill()
    if how == "zeros":
        return full.fillna(0.0).reset_index()
    for name in FIELDS[:4]:
        full[name] = full[name].where(~hole, before["close"])
    return full.assign(volume=full["volume"].fillna(0.0)).reset_index()


@pytest.mark.parametrize(
    ("how", "says"),
    [("zeros", "left_out_date_without_bars"), ("all at the last close", "left_out_date_filled_forward")],
)
def test_weekends_of_rows_that_say_nothing_go(tmp_path: Path, how: str, says: str) -> None:
    done = put(every_day(market(), how), tmp_path)
    assert_as_without(done, market(), tmp_path)
    assert done.metadata.warnings[says]["count"] == 10


@pytest.mark.parametrize("how", ["again", "all at the last close"])
def test_a_newest_date_that_is_filled_forward_is_named(tmp_path: Path, how: str) -> None:
    frame = market()
    put_off = (frame["datetime"] == DAYS[-1]) & (frame["instrument"] > "I2")
    for name in FIELDS:
        before = frame[name if how == "again" or name == "volume" else "close"].shift(1)
        frame[name] = frame[name].where(~put_off, before if name != "volume" or how == "again" else 0.0)
    done = put(frame, tmp_path)
    assert examples(done, "newest_date_filled_forward") == [
        f"{DAYS[-1].date()} (3 of 8 instruments with a bar of its own)"
    ]
    assert any("filled forward for what is still to come" in line for line in done.warnings)


def test_some_on_a_saturday_are_kept_and_named(tmp_path: Path) -> None:
    done = put(pd.concat([market(), *(row(f"I{i}", SATURDAY) for i in range(3))]), tmp_path)
    assert done.metadata.dates == len(DAYS) + 1
    assert examples(done, "date_on_weekend") == [f"{SATURDAY} (3 of 8 instruments)"]
    every = put(market(days=pd.date_range(DAYS[0], DAYS[-1])), tmp_path)
    assert "date_on_weekend" not in every.metadata.warnings


def test_a_calendar_that_was_filled_forward_and_is_kept_is_named(tmp_path: Path) -> None:
    """As a provider brings one, or a list of dates."""
    days = pd.date_range(DAYS[0], DAYS[-1]).to_numpy().astype("datetime64[D]")
    done = put(every_day(market(), "all at the last close"), tmp_path, days=days)
    assert done.metadata.warnings["date_filled_forward"]["count"] == 10
    assert examples(done, "date_filled_forward")[0] == "2020-01-11 (8 of 8 instruments)"


def test_a_moment_of_one_is_named(tmp_path: Path) -> None:
    hours = [day + pd.Timedelta(hours=h) for day in DAYS for h in (10, 11, 14)]
    assert "moment_with_few_bars" not in put(market(8, hours), tmp_path).metadata.warnings
    done = put(pd.concat([market(8, hours), row("I7", f"{DAYS[4].date()} 03:17")]), tmp_path)
    assert examples(done, "moment_with_few_bars") == [f"{DAYS[4].date()} 03:17:00 (1 of 8 instruments)"]


def test_a_table_without_a_price_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no row has a price"):
        put(market().assign(**dict.fromkeys(FIELDS[:4], np.nan)), tmp_path)


@pytest.mark.parametrize("whose", ["I1", "everybody"])
def test_a_live_row_is_a_row_of_its_date(tmp_path: Path, whose: str) -> None:
    frame = market()
    live = (frame["datetime"] == DAYS[-1]) & ((frame["instrument"] == whose) | (whose == "everybody"))
    moved = frame.assign(datetime=frame["datetime"] + live.astype(int) * pd.Timedelta("16:00:01"))
    done = put(moved, tmp_path)
    assert_as_without(done, frame, tmp_path)
    assert done.metadata.frequency == "day"
    assert "16:00:01" in examples(done, "clock_differs")[0]
    assert any("16:00:01" in line for line in done.warnings)


def test_a_live_row_beside_the_row_of_its_date_is_refused(tmp_path: Path) -> None:
    frame = pd.concat([market(), row("I1", f"{DAYS[-1].date()} 16:00:01")])
    with pytest.raises(DataError, match=r"I1 has two rows on 2020-02-14, 2020-02-14 and 2020-02-14 16:00:01.*60min"):
        put(frame, tmp_path)
    assert put(frame, tmp_path, frequency="60min").metadata.frequency == "60min"


@pytest.mark.parametrize("clock", ["15:00", "00:00"])
def test_daily_bars_keep_a_clock_that_all_have(tmp_path: Path, clock: str) -> None:
    flat = market().assign(open=10.0, close=10.0)  # prices that do not jump overnight
    done = put(flat.assign(datetime=flat["datetime"] + pd.Timedelta(clock + ":00")), tmp_path)
    assert str(open_bars(done.uri).calendar[0]) == f"2020-01-06T{clock}:00.000000"
    assert (done.metadata.frequency, done.warnings) == ("day", ())


def test_bars_within_the_day_stay_and_a_stray_day_of_them_goes(tmp_path: Path) -> None:
    hours = [day + pd.Timedelta(hours=h) for day in DAYS for h in (10, 11, 14)]
    frame = market(8, hours)
    done = put(pd.concat([frame, row("I7", SATURDAY + " 10:00"), row("I7", SATURDAY + " 11:00")]), tmp_path)
    assert_as_without(done, frame, tmp_path)
    assert done.metadata.frequency == "60min"
    assert done.metadata.warnings["left_out_row"]["count"] == 2


def test_offsets_that_differ_are_counted(tmp_path: Path) -> None:
    text = market()["datetime"].dt.strftime("%Y-%m-%d 00:00:00") + "-05:00"
    text.iloc[:7] = text.iloc[:7].str.replace("-05:00", "-04:00")
    market().assign(datetime=text).to_csv(tmp_path / "bars.csv", index=False)
    done = import_bars(open_source(tmp_path / "bars.csv"), tmp_path / "bars")
    assert done.metadata.warnings["offsets_differ"] == {
        "count": 7,
        "examples": ["-05:00 (233 rows)", "-04:00 (7 rows)"],
    }
    assert done.metadata.dates == len(DAYS)


@pytest.mark.parametrize("kind", ["text", "files"])
def test_one_moment_written_in_two_zones_is_refused(tmp_path: Path, kind: str) -> None:
    frame = market()
    theirs = frame["instrument"] < "I3"
    here = frame["datetime"].dt.tz_localize("Asia/Shanghai")
    if kind == "text":
        text = here.dt.strftime("%Y-%m-%d 00:00:00+08:00").where(~theirs, here.dt.tz_convert("UTC").astype(str))
        frame.assign(datetime=text).to_csv(tmp_path / "bars.csv", index=False)
    else:
        frame.assign(datetime=here)[~theirs].to_parquet(tmp_path / "a.parquet")
        frame.assign(datetime=here.dt.tz_convert("UTC"))[theirs].to_parquet(tmp_path / "b.parquet")
    with pytest.raises(DataError, match=r"one moment written in two ways.*bring all rows to the zone"):
        open_source(tmp_path)


def test_two_exchanges_each_in_its_own_zone_are_taken_and_said(tmp_path: Path) -> None:
    frame = market()
    for name, zone in (("I1", "Asia/Shanghai"), ("I2", "America/New_York")):
        part = frame[frame["instrument"] == name]
        part.assign(datetime=part["datetime"].dt.tz_localize(zone)).to_parquet(tmp_path / f"{name}.parquet")
    source = open_source(tmp_path)
    assert len(source.calendar) == len(DAYS)
    assert source.findings["offsets_differ"].count == len(DAYS)


def listed(folder: Path, text: str) -> Path:
    (folder / "calendar.txt").write_text(text)
    return folder / "calendar.txt"


def test_a_list_of_dates_decides_alone(tmp_path: Path) -> None:
    """A Saturday that is a date, a Sunday that is one without bars, and a Monday that is none."""
    days = read_days(listed(tmp_path, "date\n" + "\n".join([*map(str, DAYS[1:].date), SATURDAY, SUNDAY, "2030-01-01"])))
    done = put(pd.concat([market(), row("I7", SATURDAY)]), tmp_path, days=days)
    calendar = [str(when)[:10] for when in open_bars(done.uri).calendar]
    assert (calendar[0], calendar[-1], len(calendar)) == ("2020-01-07", str(DAYS[-1].date()), len(DAYS) + 1)
    assert {SATURDAY, SUNDAY} < set(calendar)
    assert done.metadata.warnings["row_off_calendar"]["count"] == 8
    assert examples(done, "date_without_bars") == [SUNDAY]


@pytest.mark.parametrize(
    ("text", "says"),
    [("", "has no date"), ("yesterday 1\n", "'yesterday 1' is not a date"), ("2031-01-01\n", "on any of the 1 date")],
)
def test_a_list_of_dates_that_says_nothing(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(DataError, match=says):
        put(market(), tmp_path, days=read_days(listed(tmp_path, text)))


def test_a_provider_brings_its_calendar(provider: Path, tmp_path: Path) -> None:
    source = open_source(provider)
    with pytest.raises(DataError, match="brings its calendar"):
        import_bars(source, tmp_path / "bars", rules=DateRules(min_coverage=0.5))
    done = import_bars(source, tmp_path / "bars")
    assert done.metadata.dates == len(DAYS) + 1
    assert examples(done, "date_with_few_bars") == [f"{SATURDAY} (1 of 8 instruments)"]


@pytest.fixture
def provider(tmp_path: Path) -> Path:
    """Eight instruments of whom one has a bar on a Saturday."""
    root = tmp_path / "provider"
    frame = pd.concat([market(), row("I7", SATURDAY)])
    days = np.unique(frame["datetime"])
    for name in ("calendars", "instruments"):
        (root / name).mkdir(parents=True)
    (root / "calendars" / "day.txt").write_text("\n".join(str(day)[:10] for day in days) + "\n")
    for name, part in frame.groupby("instrument"):
        (root / "features" / name.lower()).mkdir(parents=True)
        for field in FIELDS:
            values = part.set_index("datetime")[field].reindex(days).to_numpy("<f4")
            np.array([0, *values], "<f4").tofile(root / "features" / name.lower() / f"{field}.day.bin")
    return root


def test_the_options_of_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    pd.concat([market(), row("I7", SATURDAY)]).to_csv("bars.csv", index=False)
    listed(tmp_path, "\n".join(map(str, DAYS.date)))
    assert run(["import", "bars.csv", "--to", "bars", "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out.splitlines()[-1])["dates"] == len(DAYS)
    assert "warning: 1 date left out of the calendar" in printed.err
    assert run(["import", "bars.csv", "--to", "kept", "--min-date-coverage", "0", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["dates"] == len(DAYS) + 1
    assert run(["import", "bars.csv", "--to", "bars", "--calendar", "calendar.txt"]) == 0
    capsys.readouterr()
    assert run(["import", "bars.csv", "--to", "bars", "--calendar", "c", "--min-date-coverage", "0"]) == 2
    assert "--calendar decides alone" in capsys.readouterr().err
