"""Scoring with all the runs of a bench as one model: by scores or by ranks, panels read once, and evaluated after."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import raybench
from raybench.cli.app import run as command
from raybench.cluster.jobs.scoring import score
from raybench.comparison.results import failed_row, write_results
from raybench.config import Config
from raybench.errors import DataError
from raybench.runs.artifact import load_run
from raybench.scoring.ensemble import ensemble_id
from raybench.scoring.inputs import scoring_panel
from raybench.scoring.table import read_scores
from tests.cluster.scored import bytes_of

MakeConfig = Callable[..., Config]
MakeRun = Callable[[Config], str]
END = "2015-08-07"


@pytest.fixture(scope="module")
def bench(make_config: MakeConfig, make_run: MakeRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two GRUs of one panel and a linear model of another."""
    place = tmp_path_factory.mktemp("bench") / "b"
    (place / "runs").mkdir(parents=True)
    fits = [f"runs/{name}" for name in ("gru/seed-0", "gru/seed-1", "linear/seed-0", "bad/seed-0")]
    (place / "bench.json").write_text(json.dumps({"asked": {"fits": fits}}))
    configs = {
        "gru/seed-0": make_config(train__seed=0),
        "gru/seed-1": make_config(train__seed=1),
        "linear/seed-0": make_config(model={"type": "linear"}, data__step_len=1, cluster__num_workers=1),
    }
    for name, config in configs.items():
        (place / "runs" / name).parent.mkdir(exist_ok=True)
        shutil.copytree(make_run(config), place / "runs" / name)
    failed = failed_row("bad", configs["gru/seed-0"], "the loss is NaN", folder="runs/bad/seed-0")
    write_results(str(place), [failed])
    (place / "runs" / "bad" / "seed-0").mkdir(parents=True)
    return place


def members(bench: Path) -> list[str]:
    return [str(bench / "runs" / name) for name in ("gru/seed-0", "gru/seed-1", "linear/seed-0")]


@pytest.mark.parametrize("way", ["scores", "ranks"])
def test_is_the_ensemble_of_its_runs(
    way: str, bench: Path, market_bars: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[Any] = []

    def counted(*given: Any, **options: Any) -> Any:
        built.append(given)
        return scoring_panel(*given, **options)

    monkeypatch.setattr("raybench.scoring.inputs.scoring_panel", counted)
    options = {"bars": market_bars, "end": END, "combine": way, "local": True}
    done = score(str(bench), to=str(tmp_path / "bench"), **options)
    assert len(built) == 2, "the GRUs read the same rows"
    score(members(bench), to=str(tmp_path / "runs"), **options)
    assert bytes_of(tmp_path / "bench") == bytes_of(tmp_path / "runs")
    assert done.run_id == ensemble_id([load_run(run).run_id for run in members(bench)], way)
    assert any("bad/seed-0 failed" in line for line in done.warnings)


def test_ranks_are_the_mean_of_the_members_ranks(bench: Path, market_bars: str, tmp_path: Path) -> None:
    ranks = []
    for k, run in enumerate(members(bench)):
        score(run, bars=market_bars, to=str(tmp_path / f"{k}"), end=END, local=True)
        frame = read_scores(str(tmp_path / f"{k}"))
        ranks.append(frame.groupby("datetime")["score"].rank(pct=True))
    both = score(str(bench), bars=market_bars, to=str(tmp_path / "all"), end=END, combine="ranks", local=True)
    found = read_scores(str(tmp_path / "all"))
    np.testing.assert_allclose(found["score"], pd.concat(ranks, axis=1).mean(axis=1), rtol=1e-6)
    assert found["score"].between(0, 1, inclusive="right").all()
    with pytest.raises(DataError, match=f"were scored by run {both.run_id}"):
        score(str(bench), bars=market_bars, to=str(tmp_path / "all"), end=END, combine="scores", local=True)


def test_as_commands_and_in_python(
    bench: Path, market_bars: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(bench.parent)
    to, out = str(tmp_path / "scores"), str(tmp_path / "e")
    scoring = ["score", "--model", "b", "--bars", market_bars, "--to", to, "--end", END, "--local", "--json"]
    assert command([*scoring, "--combine", "ranks"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["dates_written"] == 5
    assert command(["evaluate", "--scores", to, "--bars", market_bars, "--model", "b", "--out", out, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out.splitlines()[-1])["members"]
    assert {row["member"] for row in shown} == {"ensemble", "gru/seed-0", "gru/seed-1", "linear/seed-0"}
    assert shown[0]["member"] == "ensemble"
    assert all(row["dates"] == 5 for row in shown)
    assert command([*scoring, "--combine", "median"]) == 2
    assert "--combine is 'median'; want scores or ranks" in capsys.readouterr().err
    frame = raybench.score(bench / "runs" / "gru", market_bars, end=END, combine="ranks")
    assert frame["score"].between(0, 1, inclusive="right").all()


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
def test_on_ray_the_same(bench: Path, market_bars: str, tmp_path: Path) -> None:
    for local in (True, False):
        options = {"bars": market_bars, "end": END, "combine": "ranks", "local": local}
        score(str(bench), to=str(tmp_path / str(local)), **options)
    assert bytes_of(tmp_path / "True") == bytes_of(tmp_path / "False")
