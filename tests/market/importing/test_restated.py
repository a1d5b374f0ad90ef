"""What is a restatement of history, and what a correction of bars."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from raybench.errors import DataError
from raybench.market.bars import open_bars
from raybench.market.importing.restated import restated
from tests.market.importing.worlds import DAYS, FIELDS, append, assert_same_content, flat, full

PRICES = FIELDS[:4]


def priced(days: int, seed: int = 0) -> pd.DataFrame:
    """Six instruments with prices in cents, all of a bar different."""
    rng, rows = np.random.default_rng(seed), flat(6, days)
    close = np.round(rng.uniform(5, 30, len(rows)), 2)
    open_ = np.round(close * rng.uniform(0.98, 1.02, len(rows)), 2)
    high, low = np.maximum(open_, close) + 0.07, np.minimum(open_, close) - 0.04
    volume = rng.integers(100, 9000, len(rows)).astype(float)
    return rows.assign(open=open_, high=high.round(2), low=low.round(2), close=close, volume=volume)


def delivered(rows: pd.DataFrame, how: str, overlap: int) -> pd.DataFrame:
    """The last two dates and an overlap, in which the bars of I2 are others now."""
    new = rows[rows["datetime"] >= DAYS[58 - overlap]].copy()
    there = (new["instrument"] == "I2") & (new["datetime"] < DAYS[58])
    first = there & (new["datetime"] == new["datetime"].min())
    if how == "split":
        new.loc[there, PRICES] = (new.loc[there, PRICES] / 2).round(2)
        new.loc[there, "volume"] *= 2
    elif how == "dividend of a percent":
        new.loc[there, PRICES] = (new.loc[there, PRICES] * 0.99).round(2)
    elif how == "dividend taken off":
        new.loc[there, PRICES] -= 0.5
    elif how == "split seen late":
        new.loc[first, PRICES] = (new.loc[first, PRICES] / 2).round(2)
        new.loc[first, "volume"] *= 2
    elif how == "volumes":
        new.loc[there, "volume"] += 100
    elif how == "closes":
        new.loc[there, "close"] += 0.03
    elif how == "each its own":
        new.loc[there, PRICES] *= np.linspace(1.01, 1.2, int(there.sum()) * 4).reshape(-1, 4)
    return new


@pytest.mark.parametrize(
    ("how", "overlap"),
    [
        ("split", 1),
        ("split", 2),
        ("split", 5),
        ("dividend of a percent", 1),
        ("dividend of a percent", 2),
        ("dividend taken off", 2),
        ("dividend taken off", 5),
        ("split seen late", 2),
        ("split seen late", 5),
    ],
)
def test_a_history_that_is_restated_is_asked_for(tmp_path: Path, how: str, overlap: int) -> None:
    rows = priced(60)
    full(rows[rows["datetime"] < DAYS[58]], {}, tmp_path)
    with pytest.raises(
        DataError, match=r"prices of 1 instrument are restated.*I2 from 2020-03.*bring the whole history"
    ):
        append(delivered(rows, how, overlap), {}, tmp_path)


@pytest.mark.parametrize("overlap", [1, 2, 5])
@pytest.mark.parametrize("how", ["volumes", "closes", "each its own"])
def test_any_other_difference_is_a_correction(tmp_path: Path, how: str, overlap: int) -> None:
    rows = priced(60)
    full(rows[rows["datetime"] < DAYS[58]], {}, tmp_path)
    new = delivered(rows, how, overlap)
    done = append(new, {}, tmp_path)
    assert done.appended.changed == {"I2": str(DAYS[58 - overlap].date())}
    assert done.appended.dates == 2
    right = pd.concat([rows[rows["datetime"] < new["datetime"].min()], new])
    full(right, {}, tmp_path / "once")
    assert_same_content(open_bars(tmp_path / "bars"), open_bars(tmp_path / "once" / "bars"))


def test_a_bar_of_last_year_that_was_wrong_by_a_factor_is_corrected(tmp_path: Path) -> None:
    rows = priced(60)
    full(rows[rows["datetime"] < DAYS[58]], {}, tmp_path)
    bar = (rows["instrument"] == "I2") & (rows["datetime"] == DAYS[20])
    right = rows.copy()
    right.loc[bar, PRICES] *= 100
    done = append(right[bar | (rows["datetime"] >= DAYS[55])], {}, tmp_path)
    assert done.appended.changed == {"I2": str(DAYS[20].date())}


def test_all_who_are_restated_are_named(tmp_path: Path) -> None:
    rows = priced(60)
    full(rows[rows["datetime"] < DAYS[58]], {}, tmp_path)
    new = rows[rows["datetime"] >= DAYS[56]].copy()
    new.loc[new["datetime"] < DAYS[58], PRICES] *= 0.5
    with pytest.raises(DataError, match=r"6 instruments are restated.*I0 from .*I1.*I2.*I3.*I4.*I5"):
        append(new, {}, tmp_path)


def test_nothing_in_both_is_nothing_restated() -> None:
    none = np.empty((0, 4))
    assert not restated(none, none, np.empty((0, 2)), np.empty(0, np.int64))
