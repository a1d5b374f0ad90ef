"""From a stored score table and stored bars to a published evaluation, by function and by command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from raybench.cli.app import run
from raybench.errors import DataError, RunError
from raybench.evaluation.evaluation import evaluate
from raybench.evaluation.job import evaluate_scores
from raybench.market.bars import BarBlock
from raybench.market.importing.job import import_bars
from raybench.market.sources.source import memory_source
from raybench.market.synthetic import make_market
from raybench.scoring.table import write_date
from raybench.storage.claims import held


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Bars and a month of scores on disk."""
    root = tmp_path_factory.mktemp("stored")
    market = make_market(seed=5, instruments=20, years=1)
    import_bars(memory_source(BarBlock.from_frame(market.bars)), str(root / "bars"))
    signal = market.signal.dropna().rename(columns={"signal": "score"})
    for day, frame in signal[signal["datetime"] >= market.calendar[-25]].groupby("datetime"):
        write_date(str(root / "scores"), day.date(), frame, "run-1", {"coverage": 0.9})
    signal.to_parquet(root / "plain.parquet")
    return {name: str(root / name) for name in ("bars", "scores", "plain.parquet")}


def test_publishes_four_files_that_agree(stored: dict[str, str], tmp_path: Path) -> None:
    done = evaluate_scores(stored["scores"], stored["bars"], out=str(tmp_path / "e"))
    names = {p.name for p in (tmp_path / "e").iterdir()}
    assert names == {"metrics.json", "daily.parquet", "report.html", "report.json"}
    assert json.loads((tmp_path / "e" / "metrics.json").read_text()) == pytest.approx(done.metrics)
    daily = pd.read_parquet(tmp_path / "e" / "daily.parquet")
    assert daily["rank_ic"].mean() == pytest.approx(done.metrics["Rank IC"])
    assert (daily["coverage"] == 0.9).all()
    assert [p.name for p in tmp_path.iterdir()] == ["e"]


def test_one_process_at_a_time_writes_a_folder(stored: dict[str, str], tmp_path: Path) -> None:
    out = str(tmp_path / "e")
    with held(out, what="evaluate"), pytest.raises(DataError, match="is being written by `raybench evaluate`"):
        evaluate_scores(stored["scores"], stored["bars"], out=out)
    assert not list(tmp_path.iterdir())


def test_equals_the_function_on_tables(stored: dict[str, str], tmp_path: Path) -> None:
    done = evaluate_scores(stored["scores"], stored["bars"], out=str(tmp_path / "e"))
    market = make_market(seed=5, instruments=20, years=1)
    direct = evaluate(pd.read_parquet(stored["scores"])[["instrument", "datetime", "score"]], market.bars)
    assert done.metrics == pytest.approx(direct.metrics, rel=1e-12)


def test_command_prints_one_json_summary(
    stored: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "e")
    arguments = ["evaluate", "--scores", stored["scores"], "--bars", stored["bars"], "--out", out, "--json"]
    assert run([*arguments, "--start", "2014-12-01", "--end", "2014-12-20"]) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert summary["Rank IC"] == pytest.approx(json.loads((tmp_path / "e/metrics.json").read_text())["Rank IC"])
    assert "2014-12-01" <= summary["first"] <= summary["last"] <= "2014-12-20"


def test_scores_of_others_are_evaluated_too(stored: dict[str, str], tmp_path: Path) -> None:
    done = evaluate_scores(stored["plain.parquet"], stored["bars"], out=str(tmp_path / "e"))
    assert done.metrics["Rank IC"] > 0.05


def test_what_is_odd_about_dates_is_said_to_whoever_types_it(stored: dict[str, str], tmp_path: Path) -> None:
    """In a process of its own, from another folder, at 80 columns; a table with the label goes the same way."""
    scores = pd.read_parquet(stored["plain.parquet"])
    early = scores["datetime"].dt.tz_localize("Asia/Shanghai").dt.tz_convert("UTC")
    labels = scores.assign(datetime=early, LABEL0=scores["score"], other=1.0).drop(columns="score")
    labels.to_parquet(tmp_path / "labels.parquet")
    stray = pd.DataFrame({"instrument": ["SYN0001"], "datetime": [pd.Timestamp("1970-01-01")], "score": [1.0]})
    whole = pd.concat([scores, stray]).assign(datetime=lambda f: f["datetime"].astype("datetime64[us]"))
    whole.to_parquet(tmp_path / "pred.parquet")
    asked = {**os.environ, "COLUMNS": "80", "PYTHONPATH": str(Path(__file__).parents[2])}
    line = [sys.executable, "-m", "raybench", "evaluate", "--scores", "pred.parquet"]
    for other, said in (
        (["--bars", stored["bars"]], "pred.parquet: 1 date across a gap far longer than a market is closed"),
        (["--features", "labels.parquet", "--bars", stored["bars"]], "midnight in a zone further east"),
    ):
        words = [*line, *other, "--out", "e"]
        done = subprocess.run(words, cwd=tmp_path, env=asked, capture_output=True, text=True, timeout=100)
        assert said in done.stderr
        assert "Traceback" not in done.stderr


def test_what_is_missing_is_named(stored: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "e")
    with pytest.raises(RunError, match="no-run is not a finished run"):
        evaluate_scores(stored["scores"], stored["bars"], out=out, model=str(tmp_path / "no-run"))
    with pytest.raises(DataError, match="nothing here"):
        evaluate_scores(str(tmp_path / "no-scores"), stored["bars"], out=out)
    assert run(["evaluate", "--scores", stored["scores"], "--bars", str(tmp_path), "--out", out]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert not (tmp_path / "e").exists()
