"""The frame of results: what a row says, and what a file brings back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from raybench.comparison.on_test import on_test
from raybench.comparison.results import (
    COLUMNS,
    DAILY,
    daily_frame,
    failed_row,
    hash_without_seed,
    read_daily,
    read_results,
    results_frame,
    row_of,
    write_daily,
    write_results,
)
from raybench.runs.artifact import load_run
from raybench.scoring.inputs import ScoringSource


def test_a_row_says_what_the_run_and_its_test_say(run: str, bars: str) -> None:
    stored = load_run(run)
    found = on_test(stored, ScoringSource.open(bars, None), device="cpu").evaluation
    row = row_of("gru", stored, found, folder="runs/gru/seed-0", peak_memory_mib=12.5)
    assert set(row) == set(COLUMNS)
    assert (row["name"], row["model"], row["feature_set"], row["seed"], row["roll"]) == (
        "gru",
        "gru",
        "alpha158",
        0,
        None,
    )
    assert row["Rank IC"] == found.metrics["Rank IC"]
    assert row["epochs"] == 2
    assert row["seconds"] == pytest.approx(stored.history["seconds"].sum())
    assert row["parameters"] == stored.manifest["parameters"]
    assert row["torch"] == stored.manifest["versions"]["torch"]
    assert row["peak_memory_mib"] == 12.5


def test_seeds_of_one_configuration_have_one_hash(make_config) -> None:
    first, second, other = make_config(), make_config(train__seed=5), make_config(train__lr=1e-3)
    assert hash_without_seed(first) == hash_without_seed(second) != hash_without_seed(other)


def test_files_bring_back_what_was_written(run: str, bars: str, make_config, tmp_path: Path) -> None:
    stored = load_run(run)
    found = on_test(stored, ScoringSource.open(bars, None), device="cpu").evaluation
    rows = [
        row_of("gru", stored, found, folder="a"),
        failed_row("bad", make_config(), "diverged", folder="b", roll="r"),
    ]
    written = write_results(str(tmp_path), rows)
    pd.testing.assert_frame_equal(read_results(str(tmp_path)), written, check_exact=True)
    assert list(written["error"]) == [None, "diverged"]
    assert list(written["roll"]) == [None, "r"]
    assert written["IC"].isna().tolist() == [False, True]
    assert str(written["epochs"].dtype) == "Int64"
    daily = daily_frame("gru", 0, None, found)
    assert list(daily.columns) == list(DAILY)
    assert daily["rank_ic"].mean() == pytest.approx(found.metrics["Rank IC"])
    write_daily(str(tmp_path), "gru", [daily, daily.assign(seed=1)])
    back = read_daily(str(tmp_path))
    assert len(back) == 2 * len(daily)
    assert np.array_equal(back["ic"][: len(daily)], daily["ic"])


def test_nothing_has_the_same_columns(tmp_path: Path) -> None:
    write_results(str(tmp_path), [])
    pd.testing.assert_frame_equal(read_results(str(tmp_path)), results_frame([]))
    assert list(read_daily(str(tmp_path)).columns) == list(DAILY)
