"""A run on its test segment in memory, against the two commands that do the same by way of files."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from raybench.cluster.jobs.scoring import score
from raybench.cluster.jobs.training import train
from raybench.comparison.on_test import on_test, open_unseen
from raybench.errors import DataError
from raybench.evaluation.job import evaluate_scores
from raybench.panel import pack, unpack
from raybench.runs.artifact import load_run
from raybench.scoring.inputs import ScoringSource
from raybench.scoring.table import read_scores

KEYS = ["instrument", "datetime", "score"]


def by_files(run: str, bars: str, folder: Path, features: str | None = None) -> tuple[pd.DataFrame, pd.DataFrame, dict]:
    """Scores, daily figures and metrics as the commands make them."""
    first, last = load_run(run).config.data.segments.test
    to = str(folder / "scores")
    score(run, bars=bars, features=features, to=to, start=str(first), end=str(last), local=True)
    done = evaluate_scores(to, bars, features=features, model=run, out=str(folder / "evaluation"))
    return read_scores(to)[KEYS], done.evaluation.daily, done.metrics


def assert_same(run: str, bars: str, folder: Path) -> None:
    scores, daily, metrics = by_files(run, bars, folder)
    found = on_test(load_run(run), ScoringSource.open(bars, None), device="cpu")
    assert len(scores) > 1000
    pd.testing.assert_frame_equal(found.scores, scores, check_exact=True, check_dtype=False)
    pd.testing.assert_frame_equal(found.evaluation.daily, daily, check_exact=True)
    assert found.evaluation.metrics == metrics
    assert np.isfinite(metrics["Rank IC"])


def test_equals_score_and_evaluate_to_the_last_bit(run: str, bars: str, tmp_path: Path) -> None:
    assert_same(run, bars, tmp_path)


def test_of_a_network_that_remembers(make_config, bars: str, tmp_path: Path) -> None:
    config = make_config(
        model={"type": "tra", "model_config": {"hidden_size": 8}, "pretrain": False}, train__max_epochs=1
    )
    train(config, out=str(tmp_path / "tra"), local=True)
    assert_same(str(tmp_path / "tra"), bars, tmp_path)


def test_a_segment_to_the_last_bar_is_the_default_range_of_score(make_config, bars: str, tmp_path: Path) -> None:
    segments = make_config().data.segments.model_dump(mode="json") | {"test": ["2015-08-03", "2016-12-31"]}
    train(make_config(data__segments=segments, train__max_epochs=1), out=str(tmp_path / "run"), local=True)
    run = str(tmp_path / "run")
    score(run, bars=bars, to=str(tmp_path / "scores"), local=True)
    found = on_test(load_run(run), ScoringSource.open(bars, None), device="cpu")
    scores = read_scores(str(tmp_path / "scores"))[KEYS]
    pd.testing.assert_frame_equal(found.scores, scores, check_exact=True, check_dtype=False)


def test_dates_on_which_too_few_can_be_scored_are_left_out_and_named(make_config, bars: str, tmp_path: Path) -> None:
    """Of the universe's three members one has no bars; a gap in the data is made by asking for all of them."""
    config = make_config(
        data__universe="late",
        data__segments={
            "train": ["2015-09-01", "2015-10-15"],
            "valid": ["2015-10-16", "2015-11-13"],
            "test": ["2015-11-16", "2015-12-31"],
        },
        train__max_epochs=1,
    )
    train(config, out=str(tmp_path / "run"), local=True)
    run = load_run(str(tmp_path / "run"))
    found = on_test(run, ScoringSource.open(bars, None), device="cpu")
    assert found.evaluation.daily["coverage"].round(3).isin([0.667]).all()
    strict = dataclasses.replace(
        run, manifest={**run.manifest, "data": {**run.manifest["data"], "usual": {"close": 3.0}}}
    )
    with pytest.raises(DataError, match=r"no date of its test segment can be scored .*too few"):
        on_test(strict, ScoringSource.open(bars, None), device="cpu")


def test_rows_travel_packed(run: str, bars: str) -> None:
    """What a process is given by reference judges as what was opened here."""
    from raybench.comparison.on_test import judge

    stored, source = load_run(run), ScoringSource.open(bars, None)
    panel, unseen = open_unseen(stored.config, source, processors=stored.processors)
    there, here = judge(stored, unpack(*pack(panel)), unseen), on_test(stored, source, device="cpu")
    pd.testing.assert_frame_equal(there.scores, here.scores, check_exact=True)
    assert there.evaluation.metrics == here.evaluation.metrics


def test_data_without_the_segment_are_refused(run: str, bars: str) -> None:
    stored = load_run(run)
    segments = stored.config.data.segments.model_copy(update={"test": ("2031-01-01", "2031-12-31")})
    later = stored.config.model_copy(update={"data": stored.config.data.model_copy(update={"segments": segments})})
    with pytest.raises(DataError, match=r"data.segments.test \(2031-01-01 to 2031-12-31\) has no date of the data"):
        on_test(dataclasses.replace(stored, config=later), ScoringSource.open(bars, None))
