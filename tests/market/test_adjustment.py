"""Raw prices are named, and adjusted by a factor when that is asked for."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from raybench.errors import DataError
from raybench.market.bars import BarBlock, open_bars
from raybench.market.importing.job import ImportResult, import_bars
from raybench.market.sources import memory_source, open_source

DAYS = pd.bdate_range("2020-01-01", periods=60)
SPLIT = 30


def frame(names: tuple[str, ...] = ("A", "B"), split: float = 2.0) -> pd.DataFrame:
    """Adjusted prices that hardly move, and the factor of a split."""
    rng = np.random.default_rng(1)
    parts = []
    for name in names:
        close_T = 10 * np.exp(np.cumsum(rng.normal(0, 0.01, len(DAYS))))
        prices = {"open": close_T, "high": close_T * 1.01, "low": close_T * 0.99, "close": close_T, "vwap": close_T}
        factor_T = np.where(np.arange(len(DAYS)) < SPLIT, 1 / split, 1.0)
        parts.append(
            pd.DataFrame({"instrument": name, "datetime": DAYS, **prices, "volume": 100.0, "factor": factor_T})
        )
    return pd.concat(parts, ignore_index=True)


def raw(adjusted: pd.DataFrame) -> pd.DataFrame:
    prices = {name: adjusted[name] / adjusted["factor"] for name in ("open", "high", "low", "close", "vwap")}
    return adjusted.assign(**prices, volume=adjusted["volume"] * adjusted["factor"])


def imported(rows: pd.DataFrame, to: Path, **options: Any) -> ImportResult:
    return import_bars(memory_source(BarBlock.from_frame(rows)), to, **options)


def test_raw_prices_beside_a_factor_are_named(tmp_path: Path) -> None:
    done = imported(raw(frame()), tmp_path / "bars")
    day = str(DAYS[SPLIT].date())
    assert done.metadata.warnings["raw_beside_factor"] == {"count": 2, "examples": ["A", "B"]}
    assert done.metadata.warnings["overnight_jump"] == {"count": 2, "examples": [f"A {day}", f"B {day}"]}
    assert sum("--adjust factor" in line for line in done.warnings) == 1


def test_a_jump_is_named_without_a_factor_a_move_within_a_day_is_not(tmp_path: Path) -> None:
    done = imported(raw(frame()).drop(columns="factor"), tmp_path / "bars")
    assert done.metadata.warnings.keys() == {"overnight_jump"}
    rows = frame().drop(columns="factor")
    rows.loc[10, ["high", "close"]] = 30.0  # listed, and up by what it likes; it falls back on the same day after
    rows.loc[11, ["open", "high"]] = 30.0
    assert "overnight_jump" not in imported(rows, tmp_path / "other").metadata.warnings


@pytest.mark.parametrize("split", [1.0, 1.5, 2.0])
def test_adjusted_prices_are_left_in_peace(tmp_path: Path, split: float) -> None:
    assert imported(frame(split=split), tmp_path / "bars").warnings == ()


def test_adjusting_gives_the_adjusted_bars_and_says_so(tmp_path: Path) -> None:
    done = imported(raw(frame()), tmp_path / "bars", adjust="factor")
    assert done.warnings == ()
    assert done.notes == ("prices were multiplied by factor, volume divided by it (--adjust)",)
    assert done.metadata.source["adjusted_by"] == "factor"
    got, want = open_bars(tmp_path / "bars").block(), BarBlock.from_frame(frame())
    for name, value_R in want.fields.items():
        np.testing.assert_allclose(got.fields[name], value_R, rtol=1e-6, err_msg=name)


def test_adjusting_what_is_adjusted_already_is_named(tmp_path: Path) -> None:
    done = imported(frame(), tmp_path / "bars", adjust="factor")
    assert done.metadata.warnings["adjusted_twice"]["count"] == 2


def test_a_row_without_a_factor_is_left_without_values(tmp_path: Path) -> None:
    rows = raw(frame())
    rows.loc[3, "factor"] = np.nan
    done = imported(rows, tmp_path / "bars", adjust="factor")
    assert done.metadata.warnings["row_without_factor"] == {"count": 1, "examples": [f"A {DAYS[3].date()}"]}
    assert np.isnan(open_bars(tmp_path / "bars").block().fields["close"]).sum() == 1


@pytest.mark.parametrize("name", ["adj_close", "5. adjusted close"])
def test_an_adjusted_close_is_a_factor_too(tmp_path: Path, name: str) -> None:
    rows = raw(frame(split=1.05)).assign(**{name: frame(split=1.05)["close"]}).drop(columns="factor")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "the bars: columns taken: 5. adjusted close as adj_close")
        assert imported(rows, tmp_path / "raw").metadata.warnings["raw_beside_adjusted_close"]["count"] == 2
        done = imported(rows, tmp_path / "bars", adjust=name)
    assert done.warnings == ()
    assert done.notes == ("prices were multiplied by adj_close / close, volume divided by it (--adjust)",)
    got, want = open_bars(tmp_path / "bars").block(), BarBlock.from_frame(frame(split=1.05))
    for field in ("open", "high", "low", "close", "vwap", "volume"):
        np.testing.assert_allclose(got.fields[field], want.fields[field], rtol=1e-6, err_msg=field)


def test_a_field_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no field adj to adjust prices by \(--adjust\); it has factor, vwap$"):
        imported(frame(), tmp_path / "bars", adjust="adj")
    with pytest.raises(DataError, match="it has none but prices and volume"):
        imported(frame().drop(columns=["factor", "vwap"]), tmp_path / "bars", adjust="close")
    assert not (tmp_path / "bars").exists()


@pytest.mark.shared
def test_real_hourly_bars_are_adjusted(shared: Path, tmp_path: Path) -> None:
    source = open_source(shared / "intraday/us_lean_hour.parquet")
    before = import_bars(source, tmp_path / "raw").metadata.warnings
    after = import_bars(source, tmp_path / "adjusted", adjust="factor").metadata.warnings
    assert "AAPL" in before["raw_beside_factor"]["examples"]
    assert "AAPL 2005-02-28 09:00:00" in before["overnight_jump"]["examples"]  # two for one
    assert "AAPL 2005-02-28 09:00:00" not in after["overnight_jump"]["examples"]
    assert not {"raw_beside_factor", "adjusted_twice"} & set(after)
