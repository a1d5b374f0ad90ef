"""Days that have only begun are told from whole ones."""

from __future__ import annotations

import numpy as np
import pytest

from raybench.panel.filled import FRESH, count_filled
from raybench.scoring.gaps import Gap, begun_day, carried_days, old_days, worst


def hours(days: int, last: int, usual: int = 4) -> np.ndarray:
    """A calendar of ``usual`` hours a day, of the last day the first ``last``."""
    day_D = np.datetime64("2020-01-01T10", "us") + np.arange(days) * np.timedelta64(1, "D")
    moments = (day_D[:, None] + np.arange(usual) * np.timedelta64(1, "h")).ravel()
    return moments[: len(moments) - usual + last]


def test_a_day_that_has_begun_is_found() -> None:
    assert begun_day(hours(9, 1)) == {"2020-01-09": Gap(why="1 of the usual 4 moments", share=0.25)}
    assert begun_day(hours(9, 3), of=" of X") == {"2020-01-09": Gap(why="3 of the usual 4 moments of X", share=0.75)}


@pytest.mark.parametrize("calendar", [hours(9, 4), hours(9, 1, usual=1), hours(3, 1), hours(9, 4)[1:]])
def test_whole_days_daily_bars_and_what_nobody_knows_are_no_gaps(calendar: np.ndarray) -> None:
    assert begun_day(calendar) == {}


def test_a_short_day_that_is_over_is_no_gap() -> None:
    calendar = hours(9, 4)
    assert begun_day(np.delete(calendar, [17, 18])) == {}


def test_of_several_gaps_of_a_day_the_worst_is_told() -> None:
    small, large = Gap(why="a", share=0.5), Gap(why="b", share=0.25)
    assert worst([{"x": small, "y": large}, {"x": large}, {"y": small, "z": small}]) == {
        "x": large,
        "y": large,
        "z": small,
    }


def test_a_day_of_which_most_bars_are_older_has_a_gap() -> None:
    """Members that nothing was delivered of have rows like suspended ones; how many are usual the days before tell."""
    days = np.arange("2020-01-01", "2020-02-15", dtype="datetime64[D]")
    bars = np.ones((len(days), 40), np.float32)
    bars[3, :21] = np.nan  # before there are days enough: of all rows
    bars[10, :20] = np.nan
    bars[20:, :25] = np.nan  # no gap any more once it is usual
    gaps = old_days(count_filled({"close": bars.ravel()}, np.repeat(days, 40).astype("datetime64[us]")), 0.5)
    assert list(gaps) == [str(day) for day in (days[3], *days[20:29])]
    assert gaps[str(days[3])] == Gap(why="19 of 40 instruments", share=19 / 40)
    assert old_days(None, 0.5) == {}


def test_few_members_may_be_suspended_all_at_once() -> None:
    stamps = np.repeat(np.arange("2020-01-01", "2020-01-11", dtype="datetime64[D]").astype("datetime64[us]"), 5)
    assert old_days(count_filled({"close": np.full(50, np.nan, np.float32)}, stamps), 0.5) == {}


def test_a_few_members_of_whom_most_have_no_bar_are_a_gap_as_many_are() -> None:
    days = np.arange("2020-01-01", "2020-01-21", dtype="datetime64[D]")
    bars = np.ones((len(days), 8), np.float32)
    bars[-1, 1:] = np.nan
    gaps = old_days(count_filled({"close": bars.ravel()}, np.repeat(days, 8).astype("datetime64[us]")), 0.5)
    assert gaps == {str(days[-1]): Gap(why="1 of 8 instruments", share=1 / 8)}


def test_a_day_that_repeats_the_closes_before_is_a_gap() -> None:
    days = np.arange("2020-01-01", "2020-01-21", dtype="datetime64[D]")
    fresh = np.ones((len(days), 8), np.float32)
    fresh[2, 1:], fresh[-1, 1:] = np.nan, np.nan  # of the third day nobody knows what is usual
    traded = count_filled(
        {"close": np.ones(fresh.size, np.float32), FRESH: fresh.ravel()}, np.repeat(days, 8).astype("datetime64[us]")
    )
    why = "1 of the usual 8 closes that are not those of the day before again"
    assert carried_days(traded, 0.5) == {str(days[-1]): Gap(why=why, share=1 / 8)}
    assert carried_days(None, 0.5) == {}


def test_where_closes_hardly_move_repeating_them_is_no_gap() -> None:
    days = np.arange("2020-01-01", "2020-01-21", dtype="datetime64[D]")
    fresh = np.full((len(days), 8), np.nan, np.float32)
    fresh[:, :2] = 1
    fresh[-1] = np.nan
    columns = {"close": np.ones(fresh.size, np.float32), FRESH: fresh.ravel()}
    assert carried_days(count_filled(columns, np.repeat(days, 8).astype("datetime64[us]")), 0.5) == {}
