"""Who has a row on a day, told without reading bars, against the rows themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from raybench.feature_sets.table import open_features
from raybench.market.bars import BarBlock, Bars, open_bars
from raybench.market.importing.job import import_bars
from raybench.market.sources import memory_source
from raybench.market.universe import universe_of_frame
from raybench.panel import presence

DAYS = pd.bdate_range("2020-01-01", periods=12)
LIVES = {"A": (0, 11), "B": (3, 11), "C": (0, 6), "D": (5, 5)}


@pytest.fixture(scope="module")
def bars(tmp_path_factory: pytest.TempPathFactory) -> Bars:
    """Four instruments; B is suspended for two days, E of the universe has no bars, C comes and goes."""
    frames = [
        pd.DataFrame({"instrument": name, "datetime": DAYS[first : last + 1]}) for name, (first, last) in LIVES.items()
    ]
    frame = pd.concat(frames).assign(open=1.0, high=1.0, low=1.0, close=1.0, volume=1.0)
    frame = frame[~((frame["instrument"] == "B") & frame["datetime"].isin(DAYS[5:7]))]
    spans = [("A", 2, None), ("B", 0, None), ("C", 0, 3), ("C", 5, 9), ("E", 0, None)]
    rows = [{"instrument": i, "start": DAYS[a], "end": None if b is None else DAYS[b]} for i, a, b in spans]
    pool = {"pool": universe_of_frame("pool", pd.DataFrame(rows))}
    to = str(tmp_path_factory.mktemp("bars"))
    return open_bars(import_bars(memory_source(BarBlock.from_frame(frame)), to, universes=pool).uri)


@pytest.mark.parametrize("universe", ["pool", "all"])
def test_those_who_are_there_are_counted(bars: Bars, universe: str) -> None:
    block, members = bars.block(trailing=True), bars.universe(universe)
    inside = members.mask(block.instruments, block.code_R, block.datetime_R)
    expected = [int((inside & (block.datetime_R == day)).sum()) for day in presence.days_of(bars.calendar)]
    found = presence.count_spans(presence.present(bars, universe), presence.days_of(bars.calendar))
    assert found.tolist() == expected
    assert len(set(expected)) > 2


def test_with_history_are_those_who_began_long_enough_ago(bars: Bars) -> None:
    full = presence.count_spans(presence.present(bars, "all", rows=4), presence.days_of(bars.calendar))
    assert full.tolist() == [0, 0, 0, 2, 2, 2, 3, 3, 4, 4, 4, 4]
    assert presence.count_spans(presence.present(bars, "all", rows=99), presence.days_of(bars.calendar)).sum() == 0


def test_rows_of_a_table_are_counted_by_day(tmp_path: Path) -> None:
    hours = pd.to_datetime(["2020-01-01 10:00", "2020-01-01 11:00", "2020-01-02 10:00"])
    rows = [("A", 0), ("A", 1), ("B", 1), ("A", 2)]
    table = pd.DataFrame({"instrument": [i for i, _ in rows], "datetime": hours[[h for _, h in rows]], "x": 1.0})
    table.to_parquet(tmp_path / "t.parquet")
    days = np.array(["2019-12-31", "2020-01-01", "2020-01-02", "2020-01-03"], "datetime64[D]")
    assert presence.count_rows(open_features(tmp_path / "t.parquet"), days).tolist() == [0, 2, 1, 0]
