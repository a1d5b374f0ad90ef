"""What ``evaluate`` tells in words, of figures that there are and of those that there are not."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import raybench
from raybench.cli.app import run as command
from raybench.market.bars import BarBlock
from raybench.market.importing.job import import_bars
from raybench.market.sources.source import memory_source
from raybench.market.synthetic import Market, make_market
from tests.evaluation.test_origin import make_run, make_scores, undrawn  # noqa: F401

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture(scope="module")
def market() -> Market:
    return make_market(seed=5, instruments=12, years=1)


@pytest.fixture(scope="module")
def bars(market: Market, tmp_path_factory: pytest.TempPathFactory) -> str:
    uri = str(tmp_path_factory.mktemp("bars") / "bars")
    import_bars(memory_source(BarBlock.from_frame(market.bars)), uri)
    return uri


def told(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert command(["evaluate", *words]) == 0
    out = capsys.readouterr().out
    assert "not known" not in out
    assert "nan" not in out
    return out


def test_dates_in_sample_only_are_one_sentence(
    market: Market, bars: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path / "run", market)
    scores = make_scores(tmp_path / "s", market, raybench.load_run(run).run_id)
    words = ["--scores", scores, "--bars", bars, "--model", run, "--out", str(tmp_path / "e")]
    out = told(capsys, *words, "--end", str(market.calendar[-30].date()))
    assert re.search(
        r"not learned from: 31 dates, 2014-\S+ to 2014-\S+, lie in .*, with Rank IC 0.\d+ against Ref", out
    )
    assert "long-short" not in out
    out = told(capsys, *words)
    assert "left out, for the run learned from them: 35 dates" in out


def test_figures_that_there_are_not_are_named_once(
    market: Market, bars: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = market.signal.dropna().rename(columns={"signal": "score"})
    for name, change in (
        ("one date", frame["datetime"] == market.calendar[-9]),
        ("no spread", frame["score"] < np.inf),
    ):
        (frame[change].assign(score=1.0) if name == "no spread" else frame[change]).to_parquet(tmp_path / f"{name}.pq")
    words = ["--bars", bars, "--out", str(tmp_path / "e"), "--scores"]
    one = told(capsys, *words, str(tmp_path / "one date.pq"))
    assert "Rank IC " in one
    assert "standard error" not in one
    assert "these dates allow no Rank IC and no IC" in told(capsys, *words, str(tmp_path / "no spread.pq"))


def test_a_result_without_figures_shows_none(market: Market) -> None:
    frame = market.signal.dropna().rename(columns={"signal": "score"}).assign(score=1.0)
    assert repr(raybench.evaluate(frame, market.bars)).startswith("<evaluation of 233 dates: label ")
