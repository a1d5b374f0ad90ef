"""Scores and the runs that made them: ids, labels, and the dates that are no test."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from raybench.cli.app import run as command
from raybench.config import load_config
from raybench.config.data.label import DEFAULT_LABEL
from raybench.errors import ConfigError, DataError
from raybench.evaluation.evaluation import evaluate
from raybench.evaluation.job import EvaluationResult, evaluate_scores
from raybench.market.bars import BarBlock
from raybench.market.importing.job import import_bars
from raybench.market.sources.source import memory_source
from raybench.market.synthetic import Market, make_market
from raybench.processors import FittedProcessors
from raybench.processors.elementwise import Fillna
from raybench.processors.fitted import FittedStep
from raybench.runs.artifact import load_run, write_run
from raybench.scoring.ensemble import ensemble_id
from raybench.scoring.table import write_date
from raybench.storage.places import MARKS

UNDRAWN = pytest.mark.usefixtures("undrawn")  # seconds of drawing that nobody looks at
FIVE_BARS = "Ref($close, -6) / Ref($close, -1) - 1"


@pytest.fixture(scope="module")
def market() -> Market:
    return make_market(seed=5, instruments=12, years=1)


@pytest.fixture(scope="module")
def bars(market: Market, tmp_path_factory: pytest.TempPathFactory) -> str:
    uri = str(tmp_path_factory.mktemp("bars") / "bars")
    import_bars(memory_source(BarBlock.from_frame(market.bars)), uri)
    return uri


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that takes no time, and is known for ours."""
    monkeypatch.setattr("raybench.evaluation.job.to_html", lambda report: MARKS[0].decode())


FILLED = Fillna(fields_group=None, fill_value=0.0)


def make_run(folder: Path, market: Market, **data: Any) -> str:
    """A run whose test segment is the last 25 dates and whose valid segment the 10 before."""
    day = [str(date.date()) for date in market.calendar]
    segments = {"train": [day[0], day[-36]], "valid": [day[-35], day[-26]], "test": [day[-25], day[-1]]}
    source = {"bars": "b"} if "features" not in data else {}
    plain = {
        "feature_set": {"type": "alpha158", "columns": ["KMID"]},
        "processors": {"infer": [{"class": "Fillna"}], "learn": []},
    }
    own = {**source, **plain, "segments": segments, **data}
    config = load_config({"data": own, "model": {"type": "linear"}})
    columns = tuple(config.data.feature_set.names or ("KMID",))
    weights = torch.full((1, len(columns) * config.data.step_len), float(len(folder.name)))
    write_run(
        str(folder),
        config=config,
        weights={"linear.weight": weights},
        processors=FittedProcessors(table_columns=columns, infer=(FittedStep(processor=FILLED),), learn=()),
        history=[],
        best_epoch=0,
        began=datetime(2026, 1, 2, tzinfo=UTC),
        facts={"model": folder.name},
    )
    return str(folder)


def make_scores(folder: Path, market: Market, run_id: str, dates: int = 60) -> str:
    signal = market.signal.dropna().rename(columns={"signal": "score"})
    for day, frame in signal[signal["datetime"] >= market.calendar[-dates]].groupby("datetime"):
        write_date(str(folder), day.date(), frame, run_id)
    return str(folder)


def evaluated(tmp_path: Path, market: Market, bars: str, *, dates: int = 60, **data: Any) -> EvaluationResult:
    run = make_run(tmp_path / "run", market, **data)
    scores = make_scores(tmp_path / "scores", market, load_run(run).run_id, dates)
    return evaluate_scores(scores, bars, out=str(tmp_path / "e"), model=run)


def test_label_and_test_dates_are_the_run_s(tmp_path: Path, market: Market, bars: str) -> None:
    done = evaluated(tmp_path, market, bars, label=FIVE_BARS)
    result = done.evaluation
    assert (result.label, result.timing.holding) == (FIVE_BARS, 5)
    assert list(result.unseen["datetime"]) == list(market.calendar[-25:])
    alone = evaluate_scores(
        str(tmp_path / "scores"),
        bars,
        out=str(tmp_path / "test"),
        model=str(tmp_path / "run"),
        start=str(market.calendar[-25].date()),
    )
    assert done.metrics == pytest.approx(alone.metrics, nan_ok=True)
    assert result.in_sample is not None
    assert alone.evaluation.in_sample is None
    assert result.in_sample["Rank IC"] == pytest.approx(result.seen["rank_ic"].mean())
    page = (tmp_path / "e" / "report.html").read_text()
    assert "Rank IC in sample" in page
    assert "shaded: in sample" in page


@UNDRAWN
def test_only_dates_in_sample_have_no_headline(tmp_path: Path, market: Market, bars: str) -> None:
    run = make_run(tmp_path / "run", market)
    scores = make_scores(tmp_path / "scores", market, load_run(run).run_id)
    done = evaluate_scores(scores, bars, out=str(tmp_path / "e"), model=run, end=str(market.calendar[-30].date()))
    assert json.loads((tmp_path / "e" / "metrics.json").read_text())["Rank IC"] is None
    assert done.evaluation.in_sample is not None
    assert "no figure of dates it has not learned from" in done.warnings[-1]


@UNDRAWN
def test_another_run_is_refused_by_both_ids(
    tmp_path: Path, market: Market, bars: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mine, other = make_run(tmp_path / "mine", market), make_run(tmp_path / "other", market)
    make_scores(tmp_path / "scores", market, load_run(mine).run_id, 3)
    monkeypatch.chdir(tmp_path)
    arguments = ["evaluate", "--scores", "scores", "--bars", bars, "--out", "e", "--model"]
    assert command([*arguments, "other"]) == 2
    (line,) = [each for each in capsys.readouterr().err.splitlines() if each.startswith("error")]
    assert load_run(mine).run_id in line
    assert load_run(other).run_id in line
    assert not (tmp_path / "e").exists()
    assert command([*arguments, "mine"]) == 0
    assert "next: raybench explain --model mine" in capsys.readouterr().out


@UNDRAWN
@pytest.mark.parametrize("way", ["ensemble", "other order", "dates apart"])
def test_several_runs_match_as_a_set(way: str, tmp_path: Path, market: Market, bars: str) -> None:
    runs = [make_run(tmp_path / name, market) for name in ("a", "bb")]
    ids = [load_run(run).run_id for run in runs]
    scores = make_scores(tmp_path / "scores", market, ensemble_id(ids) if way != "dates apart" else ids[0], 30)
    if way == "dates apart":
        make_scores(tmp_path / "scores", market, ids[1], 10)
    given = runs[::-1] if way == "other order" else runs
    done = evaluate_scores(scores, bars, out=str(tmp_path / "e"), model=given)
    assert len(done.evaluation.unseen) == 25
    with pytest.raises(DataError, match="these are scores of run"):
        evaluate_scores(scores, bars, out=str(tmp_path / "e"), model=runs[0])


@UNDRAWN
def test_scores_without_an_id_are_taken_with_a_word(tmp_path: Path, market: Market, bars: str) -> None:
    run = make_run(tmp_path / "run", market)
    market.signal.dropna().rename(columns={"signal": "score"}).to_parquet(tmp_path / "s.parquet")
    done = evaluate_scores(str(tmp_path / "s.parquet"), bars, out=str(tmp_path / "e"), model=run)
    assert "has no run_id" in done.warnings[0]
    assert len(done.evaluation.unseen) == 25


def in_one_file(folder: Path, market: Market, ids: dict[str, int]) -> str:
    """The scores of runs in one Parquet file, as pandas joins them; dates by run, the last ones."""
    for run_id, dates in ids.items():
        make_scores(folder / "parts", market, run_id, dates)
    pd.concat(map(pd.read_parquet, sorted(folder.glob("parts/*/*.parquet")))).to_parquet(folder / "m.parquet")
    return str(folder / "m.parquet")


@UNDRAWN
def test_a_single_file_is_no_way_round_the_id(tmp_path: Path, market: Market, bars: str) -> None:
    mine, other = (make_run(tmp_path / name, market) for name in ("mine", "other"))
    ids = [load_run(each).run_id for each in (mine, other)]
    out = str(tmp_path / "e")
    file = in_one_file(tmp_path, market, {ids[0]: 30})
    assert len(evaluate_scores(file, bars, out=out, model=mine).evaluation.unseen) == 25
    with pytest.raises(DataError, match=f"scores of run {ids[0]}, not of .*{ids[1]}"):
        evaluate_scores(file, bars, out=out, model=other)
    file = in_one_file(tmp_path, market, {ids[0]: 30, ids[1]: 10})
    with pytest.raises(DataError, match="these are scores of run"):
        evaluate_scores(file, bars, out=out, model=other)


@UNDRAWN
@pytest.mark.parametrize("form", ["folder", "file", "frame", "frame of text dates"])
def test_a_mixture_is_named_with_both_runs(form: str, tmp_path: Path, market: Market, bars: str) -> None:
    file = in_one_file(tmp_path, market, {"run-a": 30, "run-b": 10})
    frame = pd.read_parquet(file)
    if form == "frame of text dates":
        frame["datetime"] = frame["datetime"].dt.strftime("%Y%m%d")
    if form.startswith("frame"):
        warnings = evaluate(frame, market.bars).warnings
        assert not any("runs" in line for line in evaluate(frame, market.bars, end="2014-12-01").warnings)
    else:
        place = file if form == "file" else str(tmp_path / "parts")
        warnings = evaluate_scores(place, bars, out=str(tmp_path / "e")).warnings
    assert "2 runs, evaluated as one: run-a (20 dates, " in warnings[0]
    assert "run-b (10 dates, " in warnings[0]


@UNDRAWN
def test_the_column_of_a_feature_table(tmp_path: Path, market: Market, bars: str) -> None:
    table = market.bars[["instrument", "datetime"]].assign(size=1.0, mine=market.bars["close"] / market.bars["open"])
    table.to_parquet(tmp_path / "table.parquet")
    data = {"features": str(tmp_path / "table.parquet"), "feature_set": {"type": "table"}, "label": "mine"}
    done = evaluated(tmp_path, market, bars, **data)
    assert done.evaluation.label == DEFAULT_LABEL
    assert "learned the column mine of a feature table" in done.warnings[0]
    for given in (bars, None):
        own = evaluate_scores(
            str(tmp_path / "scores"),
            given,
            features=data["features"],
            out=str(tmp_path / "own"),
            model=str(tmp_path / "run"),
        )
        assert own.evaluation.label == "mine of table.parquet"
        assert own.metrics["Rank IC"] != done.metrics["Rank IC"]
    with pytest.raises(ConfigError, match="evaluating against bars needs an expression"):
        evaluate_scores(
            str(tmp_path / "scores"), bars, out=str(tmp_path / "o"), config=load_run(str(tmp_path / "run")).config
        )


def test_neither_bars_nor_table(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="give --bars BARS, or --features TABLE"):
        evaluate_scores("s", None, out=str(tmp_path / "e"))


def test_the_page_says_what_was_trained_and_when_it_was_made(tmp_path: Path, market: Market, bars: str) -> None:
    evaluated(tmp_path, market, bars, label=FIVE_BARS)
    page = (tmp_path / "e" / "report.html").read_text()
    now = pd.Timestamp.now(tz="UTC")
    for text in (
        FIVE_BARS,
        "<dt>Seed</dt>",
        "<dt>Segments</dt>",
        "<dt>Epochs</dt>",
        f"<dt>Made</dt><dd>{now:%Y-%m-%d}",
    ):
        assert text in page
    assert "lag 4" in page


@UNDRAWN
def test_folders_of_runs_may_each_have_scored_some_dates(tmp_path: Path, market: Market, bars: str) -> None:
    """As rolls do: each folder is an ensemble, and learned up to a date of its own."""
    folders, ids = [tmp_path / "early", tmp_path / "late"], []
    for folder in folders:
        runs = [make_run(folder / f"seed-{seed}", market) for seed in range(2)]
        ids.append(ensemble_id([load_run(run).run_id for run in runs]))
    make_scores(tmp_path / "scores", market, ids[1], 10)
    signal = market.signal.dropna().rename(columns={"signal": "score"})
    for day, frame in signal[signal["datetime"].isin(market.calendar[-25:-10])].groupby("datetime"):
        write_date(str(tmp_path / "scores"), day.date(), frame, ids[0])
    models = list(map(str, folders))
    done = evaluate_scores(str(tmp_path / "scores"), bars, out=str(tmp_path / "e"), model=models)
    assert len(done.evaluation.unseen) == 25
    with pytest.raises(DataError, match="these are scores of run"):
        evaluate_scores(str(tmp_path / "scores"), bars, out=str(tmp_path / "f"), model=models[:1])
