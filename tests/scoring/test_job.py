"""Scoring days in order, publishing beside it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch

from raybench.scoring.gaps import Gap, Gaps
from raybench.scoring.job import DayScorer, Target
from raybench.scoring.predictor import MomentScores, Predictor, repeatable
from raybench.scoring.table import read_scores

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


def scorer(to: Path, *says: Says, min_coverage: float = 0.0, members: int = 4, gaps: Gaps | None = None) -> DayScorer:
    who = {str(day): members for day in DAYS}
    target = Target(to=str(to), run_id="r", members=who, min_coverage=min_coverage, gaps=gaps or {})
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
