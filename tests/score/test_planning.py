"""Which dates a scoring job does."""

from __future__ import annotations

import numpy as np
import pytest

from raybench.errors import DataError
from raybench.score.planning import contiguous_chunks, plan_dates

CALENDAR = np.array(["2020-01-02", "2020-01-03", "2020-01-06", "2020-01-07"], dtype="datetime64[us]")


def days(*names: str) -> list[np.datetime64]:
    return [np.datetime64(name) for name in names]


def test_only_missing_dates_are_done() -> None:
    plan = plan_dates(CALENDAR, start=np.datetime64("2020-01-03"), end=None, present=days("2020-01-06"))
    assert list(plan.missing) == days("2020-01-03", "2020-01-07")
    assert plan.present == 1


def test_overwrite_does_all_of_the_range() -> None:
    plan = plan_dates(
        CALENDAR,
        start=days("2020-01-03")[0],
        end=days("2020-01-06")[0],
        present=days("2020-01-06"),
        overwrite=True,
    )
    assert list(plan.missing) == days("2020-01-03", "2020-01-06")


def test_since_last_looks_at_what_is_there_only_to_start() -> None:
    plan = plan_dates(
        CALENDAR,
        start=days("2020-01-01")[0],
        end=None,
        present=days("2020-01-03", "2020-01-06"),
        since_last=True,
    )
    assert list(plan.missing) == days("2020-01-07")


def test_since_last_with_nothing_new_is_no_error() -> None:
    plan = plan_dates(CALENDAR, start=days("2020-01-01")[0], end=None, present=days("2020-01-07"), since_last=True)
    assert len(plan.missing) == 0


def test_several_datetimes_in_a_day_are_one_day() -> None:
    hours = np.array(["2020-01-02T10", "2020-01-02T11", "2020-01-03T10"], dtype="datetime64[us]")
    plan = plan_dates(hours, start=days("2020-01-01")[0], end=None, present=[])
    assert list(plan.missing) == days("2020-01-02", "2020-01-03")


def test_a_range_without_dates_says_what_there_is() -> None:
    with pytest.raises(DataError, match="2020-01-02 to 2020-01-07"):
        plan_dates(CALENDAR, start=days("2021-01-01")[0], end=None, present=[])


def test_chunks_cover_every_day_once_in_order() -> None:
    chunks = contiguous_chunks(CALENDAR, 3)
    assert [len(chunk) for chunk in chunks] == [3, 1]
    assert list(np.concatenate(chunks)) == list(CALENDAR)
