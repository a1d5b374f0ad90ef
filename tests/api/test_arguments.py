"""Functions are called in the ways that come to mind, and what does not fit is told in their own terms."""

from __future__ import annotations

import inspect
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import raybench
from raybench.api.run import Run
from raybench.api.speaking import in_arguments
from raybench.cluster.jobs.explaining import explain as explain_job
from raybench.cluster.jobs.scoring import score as score_job
from raybench.errors import DataError, UserError
from raybench.evaluation.job import evaluate_scores
from raybench.market.synthetic import Market, make_market
from tests.evaluation.test_origin import make_run, make_scores


@pytest.fixture(scope="module")
def market() -> Market:
    return make_market(seed=5, instruments=12, years=1)


@pytest.fixture(scope="module")
def run(market: Market, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return raybench.load_run(make_run(tmp_path_factory.mktemp("run") / "run", market))


@pytest.fixture(scope="module")
def scores(run: Run, market: Market) -> pd.DataFrame:
    found: pd.DataFrame = run.score(market.bars)
    return found


def test_a_run_is_given_by_place_or_by_either_name(run: Run, market: Market, scores: pd.DataFrame) -> None:
    for same in (
        raybench.score(run, market.bars),
        raybench.score(model=run.uri, bars=market.bars),
        raybench.score(models=[Path(run.uri)], bars=market.bars),
    ):
        pd.testing.assert_frame_equal(same, scores)
    assert set(scores["run_id"]) == {run.run_id}
    for name in ("model", "models"):
        assert len(raybench.evaluate(scores, market.bars, **{name: run}).unseen) == 25
    assert raybench.load_run(run).run_id == run.run_id


def test_frames_are_held_against_the_run_too(run: Run, market: Market, scores: pd.DataFrame, tmp_path: Path) -> None:
    other = make_run(tmp_path / "other", market)
    indexed = scores.set_index(["datetime", "instrument"])
    scores.to_parquet(tmp_path / "m.parquet")
    for form in (scores, indexed, str(tmp_path / "m.parquet")):
        with pytest.raises(DataError, match=f"scores of run {run.run_id}, not of .*, or leave model= out"):
            raybench.evaluate(form, market.bars, model=other)


def test_scores_side_by_side_are_those_below_each_other(run: Run, market: Market, scores: pd.DataFrame) -> None:
    side = scores.pivot(index="datetime", columns="instrument", values="score")
    for wide in (side, side.rename_axis(index="Date", columns="Ticker")):
        told = raybench.evaluate(wide, market.bars).metrics
        assert told == pytest.approx(raybench.evaluate(scores, market.bars).metrics, nan_ok=True)


CALLS: dict[str, tuple[Callable[[Any, Any], Any], str]] = {
    "another name": (lambda r, b: raybench.evaluate(b, b, run=r), "evaluate has no argument run=; want model="),
    "misspelt": (lambda r, b: raybench.score(r, b, sinse_last=True), "no argument sinse_last=; want since_last="),
    "in the wrong order": (lambda r, b: raybench.score(b, model="run"), "model= is given twice, by its place and by"),
    "bars for a run": (lambda r, b: raybench.score(b, r), "model= is a DataFrame; want a run, its address"),
    "both names": (lambda r, b: raybench.score(r, b, models=r), "model= and models= are the same"),
    "none": (lambda r, b: raybench.score(bars=b), "model= is missing"),
    "no scores": (lambda r, b: raybench.evaluate(None, b), "scores= is missing"),
    "no runs": (lambda r, b: raybench.evaluate(b, b, model=[]), "model= is missing"),
    "two": (lambda r, b: raybench.explain([r, r], b, "2020-01-01"), "model= are 2 runs; one run is explained"),
    "no date": (lambda r, b: raybench.explain(r, b), "date= is missing"),
    "too many": (lambda r, b: raybench.explain(r, b, "2020-01-01", "out"), "4 arguments are given by place, where mod"),
    "bars for a date": (lambda r, b: r.explain(b, "2020-01-01"), "date= is a DataFrame; want a date"),
    "nothing": (lambda r, b: raybench.evaluate(model=r), "missing a required argument: 'scores'; it takes scores, b"),
}


@pytest.mark.parametrize("call", CALLS)
def test_what_does_not_fit_is_told_of_the_function(call: str, run: Run, market: Market) -> None:
    wrong, says = CALLS[call]
    with pytest.raises(UserError, match=says) as told:
        wrong(run, market.bars)
    assert isinstance(told.value, TypeError)
    assert str(pickle.loads(pickle.dumps(told.value))) == str(told.value)


@pytest.mark.parametrize(
    ("verb", "job", "without"),
    [
        (raybench.score, score_job, set()),
        (raybench.evaluate, evaluate_scores, {"attainable_rank_ic", "shown_as", "origin"}),
        (raybench.explain, explain_job, set()),
    ],
)
def test_signatures_name_every_argument(verb: Any, job: Any, without: set[str]) -> None:
    names, wanted = set(inspect.signature(verb).parameters), set(inspect.signature(job).parameters)
    assert wanted - without <= names
    assert not names & {"args", "kwargs", "options"}


def test_adopt_speaks_of_its_arguments_too(run: Run, market: Market, tmp_path: Path) -> None:
    scores = make_scores(tmp_path / "s", market, "run-a", 1)
    with pytest.raises(UserError, match=r"^out= is .*which holds a score table.*change out=") as told:
        raybench.adopt(run.config, weights="w.pt", out=scores)
    assert "--" not in str(told.value)


@pytest.mark.parametrize("verb", ["score", "explain"])
def test_a_run_s_methods_take_what_the_verbs_take(verb: str) -> None:
    # one run has nothing to combine with
    mine = {n: p.default for n, p in inspect.signature(getattr(Run, verb)).parameters.items() if n != "self"}
    verbs = {n: p.default for n, p in inspect.signature(getattr(raybench, verb)).parameters.items()}
    needed = {"date": inspect.Parameter.empty} if verb == "explain" else {}
    assert mine == {n: v for n, v in verbs.items() if n not in ("model", "models", "combine")} | needed


@pytest.mark.parametrize(
    ("option", "argument"),
    [
        ("--overwrite scores them again", "overwrite=True scores them again"),
        ("below --min-coverage 0.5, so", "below min_coverage=0.5, so"),
        ("--start 2020-01-31 keeps", "start='2020-01-31' keeps"),
        ("give --bars BARS, or", "give bars=, or"),
        ("(--model)", "(model=)"),
        ("choose another --to", "choose another to="),
        ("--start is 'soon'", "start= is 'soon'"),
        ("--json --local", "--json local=True"),
    ],
)
def test_options_become_arguments(option: str, argument: str) -> None:
    assert in_arguments(option, raybench.score) == argument


def test_frames_go_by_the_name_of_their_argument(run: Run, market: Market, scores: pd.DataFrame) -> None:
    with pytest.raises(DataError, match=r"^bars: has no column volume; it has open, .*, want open, high"):
        run.score(market.bars.drop(columns="volume"))
    with pytest.raises(DataError, match=r"^features=: no column KMID, which .* give features= with all of them"):
        run.score(features=market.bars)
    result = raybench.evaluate(scores.drop(columns="run_id"), market.bars, model=run)
    assert result.warnings[0].startswith("scores= has no run_id")
    assert repr(result).endswith(f"warnings {len(result.warnings)}, see .warnings>")


def test_a_page_names_no_temporary_folder(run: Run, market: Market, scores: pd.DataFrame, tmp_path: Path) -> None:
    raybench.evaluate(scores, market.bars, model=run, out=tmp_path / "e")
    page = (tmp_path / "e" / "report.html").read_text()
    assert f"scores= ({len(scores)} rows)" in page
    assert "raybench-" not in page


def test_scores_that_are_there_are_told_in_arguments(run: Run, market: Market, tmp_path: Path) -> None:
    make_scores(tmp_path / "s", market, "another", 3)
    with pytest.raises(DataError, match=r"overwrite=True scores them again, .* or choose another to=$"):
        run.score(market.bars, to=tmp_path / "s")


@pytest.mark.filterwarnings("ignore:1 newest date on which fewer than half")
def test_dates_of_low_coverage_are_warned_of(run: Run, market: Market) -> None:
    last = market.calendar[-1]
    few = market.bars[(market.bars["datetime"] < last) | market.bars["instrument"].isin(["SYN0001", "SYN0002"])]
    says = rf"{last:%Y-%m-%d} \(\d of \d+ instruments\): coverage is below min_coverage=0.5"
    with pytest.warns(UserWarning, match=says) as told:
        scores = run.score(few)
    assert told[0].filename == __file__
    assert scores["datetime"].max() < last
    with pytest.raises(DataError, match=says):
        run.score(few, start=last)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message="1 newest date on which fewer than half")  # said of any such bars
        warnings.filterwarnings("ignore", message=rf"{last:%Y-%m-%d} .* scored with less than usual")
        assert raybench.score(run, few, min_coverage=0.0)["datetime"].max() == last
