"""From a stored score table and stored bars to a published evaluation, by function and by command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from raybench.cli.app import run
from raybench.config.data.label import DEFAULT_LABEL, parse_label
from raybench.errors import DataError, RunError
from raybench.evaluation.evaluation import LAGS, evaluate, evaluate_against
from raybench.evaluation.job import evaluate_scores, labels_of_bars
from raybench.evaluation.label_table import LabelTable
from raybench.market.bars import BarBlock, Bars, open_bars
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


@pytest.mark.parametrize("label", ["Ref($close, -2) / Ref($close, -1) - 1", "Ref($close, -5) / Ref($close, 3) - 1"])
def test_only_the_rows_that_labels_need_are_read(
    stored: dict[str, str], monkeypatch: pytest.MonkeyPatch, label: str
) -> None:
    bars, scores = open_bars(stored["bars"]), pd.read_parquet(stored["plain.parquet"])
    days = np.sort(scores["datetime"].unique())
    some = scores[scores["datetime"].between(days[100], days[104])]
    read: list[int] = []
    whole = Bars.block

    def counted(self: Bars, *args: Any, **options: Any) -> BarBlock:
        block = whole(self, *args, **options)
        read.append(block.rows)
        return block

    with monkeypatch.context() as patch:
        patch.setattr(Bars, "block", counted)
        found = evaluate_against(some, labels_of_bars(bars, bars.instruments, some, label))
    every = LabelTable.of_bars(bars.block(), label, calendar=bars.calendar, listed=bars.instruments)
    want = evaluate_against(some, every)
    pd.testing.assert_frame_equal(found.daily, want.daily)
    pd.testing.assert_frame_equal(found.decay, want.decay)
    assert (found.metrics, found.warnings) == (want.metrics, want.warnings)
    expression = parse_label(label)
    first, last = np.searchsorted(bars.calendar, days[[100, 104]])
    span = bars.calendar[[first - expression.reach, last + LAGS + expression.horizon]]
    assert read == [bars.block(start=span[0], end=span[1]).rows]
    assert read[0] < 20 * (5 + LAGS + expression.horizon + expression.reach + 1)


def test_what_is_said_of_scores_without_a_label_is_as_if_all_rows_were_read(stored: dict[str, str]) -> None:
    bars, scores = open_bars(stored["bars"]), pd.read_parquet(stored["plain.parquet"])
    newest = scores[scores["datetime"] == bars.calendar[-1]]
    every = LabelTable.of_bars(bars.block(), calendar=bars.calendar, listed=bars.instruments)
    said = []
    for table in (labels_of_bars(bars, bars.instruments, newest, DEFAULT_LABEL), every):
        with pytest.raises(DataError, match="labels are known from") as error:
            evaluate_against(newest, table)
        said.append(str(error.value))
    assert said[0] == said[1]
