"""A frame goes through the rules that tables go through: what an import leaves out moves no number here either."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import raybench
from raybench.errors import DataError
from raybench.market.bars import BarBlock, open_bars
from raybench.market.importing.frames import frame_bars
from raybench.market.importing.job import import_bars
from raybench.market.sources import open_source
from tests.market.small_market import market

CLEAN = market(8, 200).to_frame().dropna().reset_index(drop=True)
SATURDAY = pd.Timestamp("2020-09-05")
WEEK = pd.date_range("2020-01-01", CLEAN["datetime"].max())


def every_day(rows: pd.DataFrame) -> pd.DataFrame:
    since = pd.date_range(rows["datetime"].min(), WEEK[-1], name="datetime")
    return rows.set_index("datetime").reindex(since)


def on_weekends() -> pd.DataFrame:
    parts = [every_day(rows).assign(instrument=name) for name, rows in CLEAN.groupby("instrument")]
    return pd.concat(parts).reset_index()


ODD: dict[str, Callable[[], tuple[pd.DataFrame, str]]] = {
    "one row on a Saturday": lambda: (pd.concat([CLEAN, CLEAN.iloc[[90]].assign(datetime=SATURDAY)]), "2020-09-05"),
    "empty weekends": lambda: (on_weekends(), "for nobody has a bar then"),
    "two clocks": lambda: (
        CLEAN.assign(datetime=CLEAN["datetime"] + pd.to_timedelta(3 * (CLEAN.index == 100), unit="h")),
        "with another clock",
    ),
}


@pytest.mark.parametrize("kind", ODD)
def test_what_an_import_leaves_out_is_left_out_of_a_frame(kind: str, tmp_path: Path) -> None:
    frame, said = ODD[kind]()
    block, told = frame_bars(frame)
    frame.to_parquet(tmp_path / "odd.parquet", index=False)
    done = import_bars(open_source(tmp_path / "odd.parquet"), tmp_path / "bars")
    want = open_bars(tmp_path / "bars").block()
    pd.testing.assert_frame_equal(block.to_frame()[want.to_frame().columns], want.to_frame())
    assert told == done.warnings
    assert any(said in line for line in told)


def test_a_clean_frame_keeps_every_bit() -> None:
    block, _ = frame_bars(CLEAN)
    want = BarBlock.from_frame(CLEAN).to_frame()
    pd.testing.assert_frame_equal(block.to_frame()[want.columns], want)


@pytest.mark.parametrize("kind", ["one row on a Saturday", "empty weekends"])
def test_features_and_evaluation_do_not_move(kind: str) -> None:
    frame, said = ODD[kind]()
    with pytest.warns(UserWarning, match=said):
        got = raybench.features(frame, columns=["ROC5"])
    want = raybench.features(CLEAN, columns=["ROC5"]).set_index(["instrument", "datetime"])
    got = got.set_index(["instrument", "datetime"])
    assert np.array_equal(got.loc[want.index], want, equal_nan=True)
    assert SATURDAY not in got.index.get_level_values(1)
    scores = CLEAN[["instrument", "datetime"]].assign(score=CLEAN["close"] % 1)
    odd, plain = raybench.evaluate(scores, frame), raybench.evaluate(scores, CLEAN)
    assert odd.metrics == plain.metrics
    assert any(said in line for line in odd.warnings)


def test_a_jump_overnight_is_said_of_a_frame() -> None:
    split = CLEAN.copy()
    rows = (split["instrument"] == "I1") & (split["datetime"] >= "2020-05-25")
    split.loc[rows, ["open", "high", "low", "close"]] *= 0.2
    assert any("jump overnight" in line and "I1" in line for line in frame_bars(split)[1])


ZONES = {
    "midnights of Shanghai": ("Asia/Shanghai", "UTC", True),
    "midnights of Tokyo": ("Asia/Tokyo", "UTC", True),
    "midnights of Berlin, two clocks": ("Europe/Berlin", "UTC", True),
    "of Shanghai in Karachi": ("Asia/Shanghai", "Asia/Karachi", True),
    "in the zone of the exchange": ("Asia/Shanghai", "Asia/Shanghai", False),
    "of New York, whose dates stay": ("America/New_York", "UTC", False),
}


@pytest.mark.parametrize("kind", ZONES)
@pytest.mark.parametrize("as_text", [False, True])
def test_dates_a_day_early_are_said(kind: str, as_text: bool) -> None:
    written, shown, early = ZONES[kind]
    when = CLEAN["datetime"].dt.tz_localize(written).dt.tz_convert(shown)
    told = frame_bars(CLEAN.assign(datetime=when.astype(str) if as_text else when))[1]
    assert any("tz_convert" in line for line in told) == early


def test_a_close_in_utc_is_on_its_date() -> None:
    at_close = (CLEAN["datetime"] + pd.Timedelta("21h")).dt.tz_localize("UTC")
    assert not any("tz_convert" in line for line in frame_bars(CLEAN.assign(datetime=at_close))[1])


def test_a_frame_without_rows() -> None:
    with pytest.raises(DataError, match="the bars have no rows"):
        raybench.features(CLEAN.iloc[:0])


LATER = CLEAN[CLEAN["datetime"] >= "2020-08-10"]  # on every date somebody has a bar


def filled(weekdays: bool) -> pd.DataFrame:
    """Weekends, or some holidays, filled forward."""
    parts = []
    for name, rows in LATER.groupby("instrument"):
        kept = rows[~rows["datetime"].isin(HOLIDAYS)] if weekdays else rows
        there = every_day(kept).drop(columns="instrument")
        parts.append(there.ffill().assign(instrument=name, volume=there["volume"].fillna(0.0)).reset_index())
    return pd.concat(parts)


HOLIDAYS = pd.DatetimeIndex(["2020-09-08", "2020-09-09"])


@pytest.mark.parametrize("weekdays", [False, True])
def test_dates_filled_forward_are_no_dates(weekdays: bool) -> None:
    block, told = frame_bars(filled(weekdays))
    dates = set(pd.DatetimeIndex(LATER["datetime"])) - (set(HOLIDAYS) if weekdays else set())
    assert set(pd.DatetimeIndex(block.datetime_R)) == dates
    assert any("filling forward" in line for line in told)


def test_one_suspended_instrument_keeps_its_dates() -> None:
    one = CLEAN[CLEAN["instrument"] == "I0"].reset_index(drop=True)
    one.loc[50:60, ["open", "high", "low", "close"]] = 7.0
    one.loc[50:60, "volume"] = 0.0
    assert len(frame_bars(one)[0].datetime_R) == len(one)


@pytest.mark.parametrize("year", [1970, 1999, 2099])
@pytest.mark.parametrize("instruments", [3, 8])
def test_a_date_across_a_gap_is_left_out(year: int, instruments: int) -> None:
    names = sorted(set(CLEAN["instrument"]))[:instruments]
    clean = CLEAN[CLEAN["instrument"].isin(names) & (CLEAN["datetime"] >= "2020-04-15")]
    stray = clean.iloc[[0]].assign(datetime=pd.Timestamp(f"{year}-01-01"))
    block, told = frame_bars(pd.concat([clean, stray]))
    want, _ = frame_bars(clean)
    pd.testing.assert_frame_equal(block.to_frame(), want.to_frame())
    assert any("left out" in line and str(year) in line for line in told)


def test_a_gap_that_is_kept_is_said() -> None:
    one = CLEAN[CLEAN["instrument"] == "I0"]
    block, told = frame_bars(pd.concat([one, one.iloc[[0]].assign(datetime=pd.Timestamp("1970-01-01"))]))
    assert str(block.datetime_R[0])[:4] == "1970"
    assert any("1970-01-01 to 20" in line for line in told)


@pytest.mark.parametrize(("field", "value", "said"), [("close", -1.0, "zero or below"), ("volume", -5.0, "below zero")])
def test_numbers_that_cannot_be_are_said(field: str, value: float, said: str) -> None:
    odd = CLEAN.copy()
    odd.loc[40, field] = value
    assert any(said in line for line in frame_bars(odd)[1])
