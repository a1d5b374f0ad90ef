"""Which dates a scoring job does, and who should be in them."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from raybench.errors import DataError
from raybench.market.universe import ALL, Universe, make_universe
from raybench.scoring.planning import contiguous_chunks, count_members, parse_day, plan_dates

CALENDAR = np.array(["2020-01-02", "2020-01-03", "2020-01-06", "2020-01-07"], dtype="datetime64[us]")
FIRST = date(2020, 1, 1)


def days(*numbers: int) -> list[date]:
    return [date(2020, 1, number) for number in numbers]


def test_only_missing_dates_are_done() -> None:
    plan = plan_dates(CALENDAR, start=date(2020, 1, 3), end=None, present=days(6))
    assert plan.missing.tolist() == days(3, 7)
    assert plan.present == 1


def test_overwrite_does_all_of_the_range() -> None:
    plan = plan_dates(CALENDAR, start=date(2020, 1, 3), end=date(2020, 1, 6), present=days(6), overwrite=True)
    assert plan.missing.tolist() == days(3, 6)
    assert plan.present == 0


def test_since_last_looks_at_what_is_there_only_to_start() -> None:
    plan = plan_dates(CALENDAR, start=FIRST, end=None, present=days(3, 6), since_last=True)
    assert plan.missing.tolist() == days(7)


def test_since_last_with_nothing_new_is_no_error() -> None:
    plan = plan_dates(CALENDAR, start=FIRST, end=None, present=days(7), since_last=True)
    assert len(plan.missing) == 0


def test_since_last_of_an_empty_table_is_everything() -> None:
    plan = plan_dates(CALENDAR, start=FIRST, end=None, present=[], since_last=True)
    assert plan.missing.tolist() == days(2, 3, 6, 7)


def test_several_datetimes_in_a_day_are_one_day() -> None:
    hours = np.array(["2020-01-02T10", "2020-01-02T11", "2020-01-03T10"], dtype="datetime64[us]")
    plan = plan_dates(hours, start=FIRST, end=None, present=[])
    assert plan.missing.tolist() == days(2, 3)


def test_a_range_without_dates_says_what_there_is() -> None:
    with pytest.raises(DataError, match="2020-01-02 to 2020-01-07"):
        plan_dates(CALENDAR, start=date(2021, 1, 1), end=None, present=[])


@pytest.mark.parametrize("text", ["", "yesterday", "2020-13-01", "2020-01-02T10:00"])
def test_what_is_no_date_is_refused_with_its_option(text: str) -> None:
    with pytest.raises(DataError, match=r"^--end is .* YYYY-MM-DD$"):
        parse_day("--end", text)


def test_chunks_cover_every_day_once_in_order() -> None:
    chunks = contiguous_chunks(CALENDAR, 3)
    assert [len(chunk) for chunk in chunks] == [3, 1]
    assert list(np.concatenate(chunks)) == list(CALENDAR)


def universe(name: str, *spans: tuple[str, str, str | None]) -> Universe:
    names, starts, ends = zip(*spans, strict=True)
    return make_universe(name, names, np.array(starts, "datetime64[us]"), np.array(ends, "datetime64[us]"), where="t")


def test_members_are_counted_by_day_and_once() -> None:
    spans = universe(
        "some",
        ("A", "2020-01-02", None),
        ("B", "2020-01-03", "2020-01-06"),
        ("B", "2020-01-06T10:00", "2020-01-06T12:00"),
        ("C", "2020-01-07T14:00", "2020-01-07T15:00"),
    )
    counted = count_members(spans, CALENDAR.astype("datetime64[D]"), CALENDAR)
    assert list(counted.values()) == [1, 2, 2, 2]
    assert next(iter(counted)) == "2020-01-02"


def test_in_universe_all_a_missing_last_bar_is_missed_for_a_day() -> None:
    spans = universe(ALL, ("A", "2020-01-02", "2020-01-07"), ("B", "2020-01-02", "2020-01-03"))
    counted = count_members(spans, CALENDAR.astype("datetime64[D]"), CALENDAR, to_last_bar=True)
    assert list(counted.values()) == [2, 2, 2, 1]
