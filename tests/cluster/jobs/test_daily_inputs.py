"""Mornings on which nothing is new but what only the runs name: concepts, a second window, the runs themselves."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from raybench.cluster.jobs.daily import daily
from raybench.config import Config
from raybench.config.daily import DailyConfig
from raybench.market.bars import BarBlock
from raybench.market.importing.append import append_bars
from raybench.market.sources import memory_source
from raybench.scoring.status import status
from tests.cluster.jobs.desk import Desk, tiny
from tests.small import days_of_hours, import_rows, small_hours, write_concepts

MakeConfig = Callable[..., Config]
MakeRun = Callable[[Config], str]


def test_concepts_that_are_others_now(
    make_run: MakeRun, make_config: MakeConfig, rows: pd.DataFrame, spans: pd.DataFrame, days: list[str], tmp_path: Path
) -> None:
    """Nothing else has come: the table of concepts, which only the run names, is another."""
    concepts, newer = write_concepts(tmp_path, days[-3])
    hist = {"model": "{type: hist, hidden_size: 8}", "train__dates_per_batch": 2, "data__concepts": concepts}
    desk = Desk(tmp_path, make_run(make_config(**hist)), start=days[-10])
    desk.deliver(rows, spans)
    assert desk.morning().stale == ()
    Path(concepts).write_bytes(Path(newer).read_bytes())
    told = desk.morning()
    found = status(str(tmp_path / "scores"), bars=str(tmp_path / "bars"), concepts=concepts).stale
    assert found is not None
    assert list(told.stale) == [str(day) for day in found.dates] == days[-3:]
    assert desk.morning(redo_stale=True).redone == tuple(days[-3:])


def test_bars_of_a_second_window_that_are_others_now(make_run: MakeRun, tmp_path: Path) -> None:
    """Only the run says where they lie; a day more of them touches nothing, a corrected bar the dates that read it."""
    hours = small_hours(pd.bdate_range("2020-01-01", periods=110))
    last = hours["datetime"].max().normalize()
    days = import_rows(days_of_hours(hours), tmp_path / "days")
    second = import_rows(hours[hours["datetime"] < last], tmp_path / "hours")
    own = {"feature_set": {"type": "alpha158", "columns": ["KMID", "ROC5"]}, "step_len": 6}
    segments = {
        "train": ["2020-01-10", "2020-03-31"],
        "valid": ["2020-04-01", "2020-04-30"],
        "test": ["2020-05-01", "2020-06-02"],
    }
    run = make_run(tiny(days, segments=segments, second={"bars": second, **own}))
    scores = str(tmp_path / "scores")
    given = {"model": run, "to": scores, "start": "2020-05-11", "local": True, "min_coverage": 0.0}
    config = DailyConfig.model_validate({"bars": days, "score": given})
    assert daily(config).stale == ()
    append_bars(memory_source(BarBlock.from_frame(hours[hours["datetime"] >= last])), second)
    found = status(scores, bars=days, second=second).stale
    assert found is not None
    assert list(daily(config).stale) == [str(day) for day in found.dates]
    other = hours.copy()
    other.loc[(hours["instrument"] == "I4") & (hours["datetime"] == "2020-05-20 14:00"), "close"] *= 1.001
    append_bars(memory_source(BarBlock.from_frame(other)), second)
    found = status(scores, bars=days, second=second).stale
    assert found is not None
    told = daily(config)
    assert list(told.stale) == [str(day) for day in found.dates]
    assert "2020-05-20" in told.stale


def test_a_run_that_was_trained_again_in_a_folder_of_seeds_is_noticed(
    desk: Desk,
    run: str,
    make_run: MakeRun,
    make_config: MakeConfig,
    rows: pd.DataFrame,
    spans: pd.DataFrame,
    days: list[str],
) -> None:
    """The folder has no manifest of its own; the next morning says whose the newest date is."""
    shutil.copytree(run, desk.folder / "runs" / "seed-0")
    desk.run, desk.start = str(desk.folder / "runs"), days[-3]
    desk.deliver(rows, spans)
    assert desk.morning().warnings == ()
    assert desk.morning().scored is None
    shutil.copytree(make_run(make_config(train__seed=5)), desk.folder / "runs" / "seed-0", dirs_exist_ok=True)
    told = desk.morning()
    assert told.scored is not None
    assert any("its newest date" in line for line in told.warnings)
