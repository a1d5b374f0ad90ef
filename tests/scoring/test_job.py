"""Scoring days in order, publishing beside it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from raybench.scoring.gaps import Gap, Gaps
from raybench.scoring.job import DayScorer, Target
from raybench.scoring.planning import DatePlan
from raybench.scoring.predictor import MomentScores, Predictor, repeatable
from raybench.scoring.result import check_superseded, result_of
from raybench.scoring.table import date_uri, read_scores
from raybench.storage.claims import SupersededError
from raybench.storage.versions import version

DAYS = np.arange("2020-01-01", "2020-01-13", dtype="datetime64[D]")


@dataclass
class Says:
    """Scores the instruments of a day in a fixed way; ``sees`` holds how many threads it had."""

    names: str
    sees: list[int]
    hours: tuple[int, ...] = (0,)

    def score_between(self, start: np.datetime64, stop: np.datetime64) -> Iterator[MomentScores]:
        self.sees.append(torch.get_num_threads())
        for hour in self.hours:
            moment = start.astype("datetime64[us]") + np.timedelta64(hour, "h")
            score_N = np.arange(len(self.names), dtype=np.float32) + start.astype(int) % 7 + hour
            yield MomentScores(moment=moment, instrument_N=np.array(list(self.names)), score_N=score_N)


def scorer(to: Path, *says: Says, members: int = 4, gaps: Gaps | None = None, **more: Any) -> DayScorer:
    who = {str(day): members for day in DAYS}
    target = Target(to=str(to), run_id="r", members=who, gaps=gaps or {}, **more)
    return DayScorer(cast("list[Predictor]", list(says)), target)


def test_results_come_in_order_and_each_day_is_out_by_then(tmp_path: Path) -> None:
    for day, result in zip(DAYS, scorer(tmp_path, Says("ABC", [])).score_days(DAYS), strict=True):
        assert (result.day, result.rows, result.coverage, result.written) == (str(day), 3, 0.75, True)
        assert (tmp_path / f"date={day}" / "scores.parquet").exists()


def test_in_order_no_day_is_begun_before_the_one_before_it_was_dealt_with(tmp_path: Path) -> None:
    sees: list[int] = []
    for k, result in enumerate(scorer(tmp_path, Says("ABC", sees)).score_days(DAYS, in_order=True)):
        assert (result.day, result.written, len(sees)) == (str(DAYS[k]), True, k + 1)
        assert len(list(tmp_path.glob("date=*"))) == k + 1
    assert len(sees) == len(DAYS)


def test_a_day_that_somebody_else_wrote_since_stays_as_it_is(tmp_path: Path) -> None:
    """The first two by then: one the very same, one otherwise; the third was there before and is to be replaced."""
    list(scorer(tmp_path, Says("ABC", [])).score_days(DAYS[:1]))
    list(scorer(tmp_path, Says("AB", [])).score_days(DAYS[1:3]))
    two = (tmp_path / f"date={DAYS[1]}" / "scores.parquet").read_bytes()
    seen = {str(DAYS[2]): version(date_uri(str(tmp_path), str(DAYS[2])))}
    found = list(scorer(tmp_path, Says("ABC", []), before=seen).score_days(DAYS[:4]))
    assert [result.written for result in found] == [True, False, True, True]
    assert [result.twin for result in found] == [True, False, False, False]
    assert [result.superseded for result in found] == [False, True, False, False]
    assert (tmp_path / f"date={DAYS[1]}" / "scores.parquet").read_bytes() == two
    assert len(read_scores(str(tmp_path))) == 3 + 2 + 3 + 3
    with pytest.raises(SupersededError, match=f"^to: {DAYS[1]}: written by another job .* as that one wrote it: "):
        check_superseded("to", found)


def test_what_runs_said_of_a_day_of_somebody_else_s_is_not_kept(tmp_path: Path) -> None:
    says = (Says("ABC", []), Says("ABD", []))
    list(scorer(tmp_path / "s", *says, run_ids=("a", "b")).score_days(DAYS[:1]))
    kept = {path: path.read_bytes() for path in tmp_path.rglob("*.parquet")}
    assert len(kept) == 2
    others = scorer(tmp_path / "s", *says[::-1], Says("A", []), run_ids=("a", "b", "c"), before={})
    (late,) = others.score_days(DAYS[:1])
    assert late.superseded
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.parquet")} == kept


def test_threads_are_fixed_while_scoring_and_as_before_after(tmp_path: Path) -> None:
    sees: list[int] = []
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        list(scorer(tmp_path, Says("AB", sees)).score_days(DAYS[:2]))
        assert (sees, torch.get_num_threads()) == ([1, 1], 2)
        with pytest.raises(ZeroDivisionError), repeatable():
            raise ZeroDivisionError
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_datetime_that_a_run_lacks_is_left_out(tmp_path: Path) -> None:
    list(scorer(tmp_path, Says("AB", [], hours=(10, 11)), Says("ABC", [], hours=(11, 12))).score_days(DAYS[:1]))
    frame = read_scores(str(tmp_path))
    assert list(frame["datetime"].dt.hour.unique()) == [11]
    assert list(frame["instrument"]) == ["A", "B"]


def test_too_few_or_none_is_no_file(tmp_path: Path) -> None:
    (low,) = scorer(tmp_path, Says("AB", []), min_coverage=0.6).score_days(DAYS[:1])
    (none,) = scorer(tmp_path, Says("AB", []), Says("CD", [])).score_days(DAYS[:1])
    assert [(result.rows, result.written) for result in (low, none)] == [(2, False), (0, False)]
    (enough,) = scorer(tmp_path, Says("AB", []), min_coverage=0.5).score_days(DAYS[:1])
    assert enough.written


@pytest.mark.parametrize(("least", "written"), [(0.5, False), (0.25, True), (0.0, True)])
def test_a_day_that_is_not_whole_is_published_only_if_that_is_allowed(
    tmp_path: Path, least: float, written: bool
) -> None:
    gaps = {str(DAYS[1]): Gap(why="1 of 4", share=0.25)}
    whole, part = scorer(tmp_path, Says("ABCD", []), min_coverage=least, gaps=gaps).score_days(DAYS[:2])
    assert (whole.written, whole.why) == (True, "")
    assert (part.written, part.low, part.why) == (written, not written, "1 of 4")


def test_a_day_on_which_all_scores_are_the_same_is_told(tmp_path: Path) -> None:
    """Of weights that are zero, say: its ranks are the order of the names. One instrument alone is nothing odd."""

    class Flat(Says):
        def score_between(self, start: np.datetime64, stop: np.datetime64) -> Iterator[MomentScores]:
            for scores in super().score_between(start, stop):
                yield replace(scores, score_N=np.zeros_like(scores.score_N)) if start > DAYS[0] else scores

    found = list(scorer(tmp_path / "s", Flat("ABC", [])).score_days(DAYS[:3]))
    assert [result.equal for result in found] == [False, True, True]
    assert not next(scorer(tmp_path / "one", Flat("A", []), members=1).score_days(DAYS[1:2])).equal
    plan = DatePlan(wanted=DAYS[:3], missing=DAYS[:3])
    (said,) = result_of(plan, Target(to="s", run_id="r", members={}), found, {}, (), 0.0).warnings
    assert said.startswith("2020-01-02, 2020-01-03: all instruments have the same score")
