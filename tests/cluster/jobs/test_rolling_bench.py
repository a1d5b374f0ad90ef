"""A bench whose segments roll: each roll a training of its own, their unseen scores one table."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from raybench.cluster.jobs import training
from raybench.cluster.jobs.bench_data import opened_data
from raybench.cluster.jobs.benching import BenchResult, bench
from raybench.comparison.fits import plan_fits
from raybench.comparison.on_test import on_test
from raybench.comparison.results import read_daily
from raybench.config import Config, dump_config, load_config
from raybench.runs.artifact import load_run
from raybench.scoring.ensemble import ensemble_id
from raybench.scoring.inputs import ScoringSource
from raybench.scoring.table import read_scores, scored_dates
from raybench.storage import parquet

MakeConfig = Callable[..., Config]
pytestmark = [pytest.mark.ray, pytest.mark.slow]
ROLLS = ["2015-08-03", "2015-11-03"]


@pytest.fixture(scope="module")
def config(make_config: MakeConfig) -> Config:
    return make_config(cluster__num_workers=1)


@pytest.fixture(scope="module")
def done(config: Config, tmp_path_factory: pytest.TempPathFactory, local_ray: None) -> BenchResult:
    """Two rolls of three months (the second is shorter) with two seeds; read only."""
    return bench({"gru": config}, seeds=2, out=str(tmp_path_factory.mktemp("rolling") / "b"), rolling="3m")


def test_each_roll_is_fitted_anew_as_a_training_with_its_segments(
    done: BenchResult, config: Config, tmp_path: Path
) -> None:
    """Processors too: Qlib goes on with those of the first roll (qlib issue 1620)."""
    assert done.failed == 0
    assert done.results["roll"].tolist() == [ROLLS[0]] * 2 + [ROLLS[1]] * 2
    first, second = (load_run(f"{done.uri}/runs/gru/{roll}/seed-0") for roll in ROLLS)
    assert first.processors.to_json() != second.processors.to_json()
    tree = yaml.safe_load(dump_config(config))
    tree["data"]["segments"] = {
        "train": ["2014-04-01", "2015-06-30"],
        "valid": ["2015-07-01", "2015-10-31"],
        "test": ["2015-11-03", "2015-12-31"],
    }
    alone = training.train(load_config(tree), out=str(tmp_path / "alone"), local=True)
    assert alone.config.data.segments == second.config.data.segments
    assert alone.processors.to_json() == second.processors.to_json()
    assert all(torch.equal(value, second.weights[name]) for name, value in alone.weights.items())


def test_unseen_scores_are_one_table_of_ensembles(done: BenchResult, config: Config) -> None:
    source = ScoringSource.open(str(config.data.bars), None)
    table = read_scores(f"{done.uri}/scores/gru")
    expected = []
    for roll in ROLLS:
        runs = [load_run(f"{done.uri}/runs/gru/{roll}/seed-{seed}") for seed in (0, 1)]
        parts = [on_test(run, source, device="cpu").scores for run in runs]
        scaled = [
            part.assign(score=part.groupby("datetime")["score"].transform(lambda x: (x - x.mean()) / x.std(ddof=0)))
            for part in parts
        ]
        both = scaled[0].merge(scaled[1], on=["instrument", "datetime"])
        both["score"] = (both["score_x"] + both["score_y"]) / 2
        both["run_id"] = ensemble_id([run.run_id for run in runs])
        expected.append(both[["instrument", "datetime", "score", "run_id"]])
    wanted = pd.concat(expected, ignore_index=True).sort_values(["datetime", "instrument"], ignore_index=True)
    assert (table[["instrument", "datetime", "run_id"]] == wanted[["instrument", "datetime", "run_id"]]).all().all()
    np.testing.assert_allclose(table["score"], wanted["score"], atol=1e-5)
    facts = scored_dates(f"{done.uri}/scores/gru")
    assert str(min(facts)) == "2015-08-03"
    assert str(max(facts)) == "2015-12-31"
    assert all(fact.coverage is not None and fact.coverage > 0.9 for fact in facts.values())


def test_they_are_evaluated_as_one_and_by_roll(done: BenchResult) -> None:
    daily = parquet.read_table(f"{done.uri}/evaluation/gru/daily.parquet").to_pandas()
    assert len(daily) == len(scored_dates(f"{done.uri}/scores/gru"))
    days = read_daily(done.uri)
    assert days.groupby("roll")["datetime"].max().lt(days.groupby("roll")["datetime"].min().shift(-1))[ROLLS[0]]
    by_roll = days.groupby(["roll", "seed"])["rank_ic"].mean()
    for _, row in done.results.iterrows():
        assert by_roll[row["roll"], row["seed"]] == pytest.approx(row["Rank IC"], abs=1e-12)
    assert Path(done.uri, "evaluation/gru/report.html").exists()
    page = Path(done.uri, "report.html").read_text()
    assert "2015-11-03" in page
    assert ">IC by roll<" in page
    assert ">By roll<" in page


def test_the_ensemble_of_a_roll_is_shown_beside_its_seeds(done: BenchResult) -> None:
    said = json.loads(Path(done.uri, "evaluation/gru/report.json").read_text())["members"]
    beside = pd.DataFrame(said).set_index("member")
    assert sorted(beside.index) == ["ensemble", "seed 0", "seed 1"]
    assert (beside["dates"] == len(scored_dates(f"{done.uri}/scores/gru"))).all()
    days = read_daily(done.uri).groupby("seed")["rank_ic"].mean()
    for seed in (0, 1):
        assert beside["Rank IC"][f"seed {seed}"] == pytest.approx(days[seed], abs=1e-6)


def test_rolls_that_are_still_to_come_are_left_out(config: Config, tmp_path: Path, local_ray: None) -> None:
    tree = yaml.safe_load(dump_config(config))
    tree["data"]["segments"] = {
        "train": ["2014-01-01", "2014-06-30"],
        "valid": ["2014-07-01", "2015-07-31"],
        "test": ["2015-08-03", "2016-12-31"],
    }
    tree["train"]["max_epochs"] = 1
    found = bench({"gru": load_config(tree)}, out=str(tmp_path / "b"), rolling="5m", expanding=True)
    assert found.failed == 0
    assert found.results["roll"].tolist() == ["2015-08-03"]
    assert found.warnings[-1] == "the data have no test date of the rolls from 2016-01-03, 2016-06-03, 2016-11-03"


def test_a_roll_that_the_data_end_before_altogether_is_left_out_too(config: Config) -> None:
    """Its valid segment, which moves along, has no date either."""
    tree = yaml.safe_load(dump_config(config))
    tree["data"]["segments"] = {
        "train": ["2014-01-01", "2015-03-31"],
        "valid": ["2015-04-01", "2015-07-31"],
        "test": ["2015-08-03", "2017-12-31"],
    }
    fits = plan_fits({"gru": load_config(tree)}, 1, rolling="6m")
    opened = opened_data(fits)
    assert [fit.roll for fit in fits if fit.folder in opened] == ["2015-08-03"]
    assert len(fits) == 5
