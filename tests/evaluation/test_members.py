"""An ensemble beside its members, on a planted market."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from raybench.evaluation.evaluation import evaluate
from raybench.evaluation.job import evaluate_scores
from raybench.market.bars import BarBlock
from raybench.market.importing.job import import_bars
from raybench.market.sources.source import memory_source
from raybench.market.synthetic import make_market
from raybench.scoring.members import write_members
from raybench.scoring.table import write_date

MARKET = make_market(seed=5, instruments=20, years=1)
FIGURES = ["IC", "ICIR", "Rank IC", "Rank ICIR"]


@pytest.fixture(scope="module")
def said() -> pd.DataFrame:
    """The planted signal with little noise and with much, and their mean, over a month."""
    frame = MARKET.signal.dropna().rename(columns={"signal": "score"})
    frame = frame[frame["datetime"] >= MARKET.calendar[-25]].reset_index(drop=True)
    rng = np.random.default_rng(0)
    for name, noise in (("good", 0.5), ("poor", 5.0)):
        frame[name] = (frame["score"] + noise * frame["score"].std() * rng.normal(size=len(frame))).astype(np.float32)
    frame["score"] = (frame["good"] + frame["poor"]) / 2
    return frame


@pytest.fixture
def stored(said: pd.DataFrame, tmp_path: Path) -> Path:
    """Bars, and the scores of an ensemble; the last date's members are not known."""
    import_bars(memory_source(BarBlock.from_frame(MARKET.bars)), str(tmp_path / "bars"))
    days = list(said.groupby("datetime"))
    for day, frame in days:
        columns = {name: frame[name].to_numpy() for name in ("instrument", "datetime")}
        if day != days[-1][0]:
            runs = {name: frame[name].to_numpy() for name in ("poor", "good")}
            write_members(str(tmp_path / "scores"), day.date(), columns, runs, "both")
        write_date(str(tmp_path / "scores"), day.date(), frame, "both")
    return tmp_path


def test_figures_of_members_are_those_of_their_own_scores(stored: Path, said: pd.DataFrame) -> None:
    done = evaluate_scores(str(stored / "scores"), str(stored / "bars"), out=str(stored / "e"))
    assert done.members is not None
    assert done.members["member"].tolist() == ["ensemble", "good", "poor"]
    known = said[said["datetime"] < said["datetime"].max()]
    for row, column in enumerate(["score", "good", "poor"]):
        own = known[["instrument", "datetime"]].assign(score=known[column])
        want = evaluate(own, MARKET.bars).metrics
        assert done.members.loc[row, FIGURES].tolist() == pytest.approx([want[name] for name in FIGURES], rel=1e-9)
    assert done.members["dates"].tolist() == [known["datetime"].nunique()] * 3


def test_the_report_shows_them(stored: Path) -> None:
    done = evaluate_scores(str(stored / "scores"), str(stored / "bars"), out=str(stored / "e"))
    page = Path(done.report).read_text()
    assert "Members and ensemble" in page
    assert page.index(">good<") < page.index(">poor<")
    table = json.loads((stored / "e" / "report.json").read_text())["members"]
    assert table["member"] == ["ensemble", "good", "poor"]


def test_scores_of_one_run_have_none(stored: Path, said: pd.DataFrame) -> None:
    for day, frame in said.groupby("datetime"):
        write_date(str(stored / "scores"), day.date(), frame, "alone")
    done = evaluate_scores(str(stored / "scores"), str(stored / "bars"), out=str(stored / "e"))
    assert done.members is None
    assert "Members and ensemble" not in Path(done.report).read_text()
