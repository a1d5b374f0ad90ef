"""Segments that step through time."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raybench.comparison.rolls import Step, parse_step, rolls_of
from raybench.config import Config, load_config
from raybench.config.data.spec import Segments
from raybench.errors import ConfigError

SEGMENTS = Segments(
    train=(date(2008, 1, 1), date(2014, 12, 31)),
    valid=(date(2015, 1, 1), date(2016, 12, 31)),
    test=(date(2017, 1, 1), date(2020, 8, 1)),
)
DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("text", "step"),
    [("1y", Step(months=12)), ("6m", Step(months=6)), ("60d", Step(days=60)), (" 2y ", Step(months=24))],
)
def test_a_step_is_read(text: str, step: Step) -> None:
    assert parse_step(text) == step


@pytest.mark.parametrize("text", ["", "y", "1", "1w", "-1y", "0d", "1.5y", "1y6m", "one year"])
def test_what_is_no_step_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="want years, months or days, such as 1y, 6m or 60d"):
        parse_step(text)


def test_rolls_of_a_year() -> None:
    rolls = rolls_of(SEGMENTS, parse_step("1y"))
    assert [roll.name for roll in rolls] == ["2017-01-01", "2018-01-01", "2019-01-01", "2020-01-01"]
    assert rolls[0].segments.train == SEGMENTS.train
    assert rolls[0].segments.valid == SEGMENTS.valid
    assert rolls[0].segments.test == (date(2017, 1, 1), date(2017, 12, 31))
    assert rolls[3].segments.train == (date(2011, 1, 1), date(2017, 12, 31))
    assert rolls[3].segments.valid == (date(2018, 1, 1), date(2019, 12, 31))
    assert rolls[3].segments.test == (date(2020, 1, 1), date(2020, 8, 1))


def test_expanding_keeps_the_first_date() -> None:
    rolls = rolls_of(SEGMENTS, parse_step("1y"), expanding=True)
    assert {roll.segments.train[0] for roll in rolls} == {date(2008, 1, 1)}
    assert [roll.segments.train[1].year for roll in rolls] == [2014, 2015, 2016, 2017]


def test_ends_of_months_stay_ends_of_months() -> None:
    """2015-02-28 and a month is 2015-03-31, the day before what 2015-03-01 comes to."""
    segments = Segments(
        train=(date(2014, 1, 31), date(2015, 2, 28)),
        valid=(date(2015, 3, 1), date(2015, 3, 31)),
        test=(date(2015, 4, 1), date(2015, 6, 30)),
    )
    second = rolls_of(segments, parse_step("1m"))[1].segments
    assert second.train == (date(2014, 2, 28), date(2015, 3, 31))
    assert second.valid == (date(2015, 4, 1), date(2015, 4, 30))
    assert second.test == (date(2015, 5, 1), date(2015, 5, 31))


@pytest.mark.parametrize("text", ["4y", "9999d"])
def test_one_step_over_all_test_dates_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--rolling gives no roll: one step covers the whole test segment"):
        rolls_of(SEGMENTS, parse_step(text))


@given(
    start=st.dates(date(2000, 1, 1), date(2030, 12, 31)),
    lengths=st.tuples(st.integers(200, 2000), st.integers(30, 400), st.integers(60, 900)),
    step=st.sampled_from(["1m", "2m", "20d", "31d", "59d"]),
    expanding=st.booleans(),
)
def test_test_dates_are_covered_once_and_nothing_is_learned_from_them(
    start: date, lengths: tuple[int, int, int], step: str, expanding: bool
) -> None:
    train, valid, test = (start + timedelta(days=n) for n in (0, lengths[0], lengths[0] + lengths[1]))
    segments = Segments(
        train=(train, valid - DAY), valid=(valid, test - DAY), test=(test, test + timedelta(days=lengths[2]))
    )
    rolls = rolls_of(segments, parse_step(step), expanding=expanding)
    tests = [roll.segments.test for roll in rolls]
    assert tests[0][0] == segments.test[0]
    assert tests[-1][1] == segments.test[1]
    assert all(later[0] == earlier[1] + DAY for earlier, later in pairwise(tests))
    assert all(roll.segments.valid[1] < roll.segments.test[0] for roll in rolls)
    assert len({roll.name for roll in rolls}) == len(rolls)


def configured(**data: Any) -> Config:
    segments = {"train": ["2014-01-01", "2014-12-31"], "valid": ["2015-01-01", "2015-06-30"]}
    segments["test"] = ["2015-07-01", "2016-12-31"]
    tree = {"data": {"bars": "b", "segments": segments, **data}, "model": {"type": "gru"}}
    return load_config(tree)


def fitted_on(name: str, first: str, last: str) -> dict[str, Any]:
    return {"class": name, "kwargs": {"fit_start_time": first, "fit_end_time": last}}


@pytest.mark.parametrize("expanding", [False, True])
def test_dates_that_processors_are_fitted_on_move_with_train(expanding: bool) -> None:
    """Qlib's configurations name them; left where they are, every roll would have the first one's processors."""
    own = {"infer": [fitted_on("RobustZScoreNorm", "2014-01-01", "2014-12-31"), "Fillna"], "learn": []}
    config = configured(processors=own, start="2013-12-01")
    rolls = rolls_of(config.data.segments, parse_step("6m"), expanding=expanding)
    last = rolls[2].of(config).data
    assert last.fit_range(last.processors.infer[0]) == (
        date(2014, 1, 1) if expanding else date(2015, 1, 1),
        date(2015, 12, 31),
    )
    assert last.start == (date(2013, 12, 1) if expanding else date(2014, 12, 1))
    assert last.fit_range(last.processors.infer[0]) == last.segments.train


def test_the_first_roll_is_as_configured_but_for_the_end_of_test() -> None:
    config = configured()
    first = rolls_of(config.data.segments, parse_step("1y"))[0].of(config)
    test = first.data.segments.model_copy(update={"test": config.data.segments.test})
    assert first.model_copy(update={"data": first.data.model_copy(update={"segments": test})}) == config
