"""Scoring by other runs and by several: whose dates are whose, and how runs are one model."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from raybench.cli.app import run as command
from raybench.cluster.jobs.scoring import score
from raybench.config import Config
from raybench.errors import DataError, RunError
from raybench.runs.artifact import load_run
from raybench.scoring.table import read_scores
from tests.cluster.scored import bytes_of, copied, days_of, times_of

MakeConfig = Callable[..., Config]
MakeRun = Callable[[Config], str]


@pytest.fixture(scope="module")
def other(make_config: MakeConfig, make_run: MakeRun) -> str:
    """The run trained again with another seed; read only."""
    return make_run(make_config(train__seed=5))


def test_a_run_is_combined_once(run: str, other: str, market_bars: str, tmp_path: Path) -> None:
    """Given twice, or beside a copy of itself, it would count twice."""
    shutil.copytree(run, tmp_path / "copy")
    for models in ([run, other, run], [run, str(tmp_path / "copy")]):
        with pytest.raises(RunError, match="give each run once"):
            score(models, bars=market_bars, to=str(tmp_path / "scores"), local=True)
    assert not (tmp_path / "scores").exists()


@pytest.mark.parametrize("lost", [0, 50, -1])
def test_dates_of_another_run_are_refused_before_any_work(
    run: str, other: str, market_bars: str, whole: str, tmp_path: Path, lost: int
) -> None:
    to = copied(whole, tmp_path)
    shutil.rmtree(Path(to) / f"date={days_of(to)[lost]}")
    before = times_of(to)
    with pytest.raises(DataError, match=rf"by run {load_run(run).run_id}, and --model is run {load_run(other).run_id}"):
        score(other, bars=market_bars, to=to, local=True)
    assert times_of(to) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scores"]


@pytest.mark.parametrize("since_last", [False, True])
def test_another_run_takes_a_table_over_from_a_date_on(
    run: str, other: str, market_bars: str, whole: str, tmp_path: Path, since_last: bool
) -> None:
    """A network that is trained anew each month: with --start, as the error says; then with --since-last."""
    days, to = days_of(whole), copied(whole, tmp_path)
    for day in days[-3:]:
        shutil.rmtree(Path(to) / f"date={day}")
    says = rf"by run {load_run(run).run_id}, and --model is run .*--overwrite .*--start {days[-3]} keeps what is there"
    before = times_of(to)
    with pytest.raises(DataError, match=says):
        score(other, bars=market_bars, to=to, local=True, since_last=since_last)
    assert times_of(to) == before
    assert list(score(other, bars=market_bars, to=to, start=days[-3], end=days[-2], local=True).written) == days[-3:-1]
    assert list(score(other, bars=market_bars, to=to, since_last=True, local=True).written) == days[-1:]
    assert set(read_scores(to)["run_id"]) == {load_run(run).run_id, load_run(other).run_id}
    assert score(other, bars=market_bars, to=to, start=days[-3], local=True).present == 3


def test_a_table_before_the_test_segment_is_gone_on_with(run: str, market_bars: str, tmp_path: Path) -> None:
    """Dates after the newest one are scored, wherever that is."""
    line = ["score", "--model", run, "--bars", market_bars, "--to", str(tmp_path / "s"), "--local", "--quiet"]
    assert command([*line, "--start", "2015-06-01", "--end", "2015-06-02"]) == 0
    assert command([*line, "--since-last", "--end", "2015-06-05"]) == 0
    assert days_of(str(tmp_path / "s")) == [f"2015-06-0{day}" for day in range(1, 6)]


@pytest.mark.parametrize("whose", ["its own", "another's"])
def test_nothing_new_is_said_with_whose_the_table_is(
    run: str, other: str, market_bars: str, whole: str, capsys: pytest.CaptureFixture[str], whose: str
) -> None:
    mine, day = load_run(run).run_id, days_of(whole)[-1]
    given = run if whose == "its own" else other
    line = ["score", "--model", given, "--bars", market_bars, "--to", whole, "--local", "--quiet", "--since-last"]
    assert command(line) == 0
    out, err = capsys.readouterr()
    assert "nothing new to score for" in out
    assert "scored into" not in out
    assert f"its newest date is {day}, by the run {mine}" in out
    assert (f"is by run {mine} and not by --model, which is run {load_run(other).run_id}" in err) is (given == other)


def test_overwrite_gives_the_table_to_another_run(other: str, market_bars: str, whole: str, tmp_path: Path) -> None:
    to = copied(whole, tmp_path)
    score(other, bars=market_bars, to=to, overwrite=True, local=True)
    assert set(read_scores(to)["run_id"]) == {load_run(other).run_id}


def test_a_folder_of_seeds_is_an_ensemble_of_them(
    run: str, other: str, market_bars: str, whole: str, tmp_path: Path
) -> None:
    for seed, trained in ((10, other), (2, run)):
        shutil.copytree(trained, tmp_path / "seeds" / f"seed-{seed}")
    day = days_of(whole)[-1]
    score(str(tmp_path / "seeds"), bars=market_bars, to=str(tmp_path / "folder"), start=day, local=True)
    score([run, other], bars=market_bars, to=str(tmp_path / "named"), start=day, local=True)
    assert bytes_of(tmp_path / "folder") == bytes_of(tmp_path / "named")


def test_runs_are_combined_within_the_date(
    run: str, make_config: MakeConfig, make_run: MakeRun, market_bars: str, whole: str, tmp_path: Path
) -> None:
    other = make_run(make_config(model__type="lstm", model__hidden_size=5, data__step_len=5))
    start = days_of(whole)[-4:][0]
    for to, models in (("other", [other]), ("both", [run, other])):
        score(models, bars=market_bars, to=str(tmp_path / to), start=start, local=True)
    first, second = (
        read_scores(uri, start=start).set_index(["datetime", "instrument"])["score"]
        for uri in (whole, str(tmp_path / "other"))
    )
    expected = (standardised(first) + standardised(second)) / 2
    both = read_scores(str(tmp_path / "both"))
    np.testing.assert_allclose(both["score"], expected, atol=2e-6)
    assert set(both["run_id"]).isdisjoint({load_run(run).run_id, load_run(other).run_id})
    assert both["run_id"].nunique() == 1


def test_runs_of_different_universes_are_not_combined(
    run: str, make_config: MakeConfig, make_run: MakeRun, market_bars: str, tmp_path: Path
) -> None:
    other = make_run(make_config(data__universe="all"))
    with pytest.raises(DataError, match=r"different universes \(demo, all\)"):
        score([run, other], bars=market_bars, to=str(tmp_path / "s"), local=True)


def standardised(score: pd.Series) -> pd.Series:
    groups = score.astype(np.float64).groupby("datetime")
    return (score - groups.transform("mean")) / groups.transform("std", ddof=0)
