"""Dates that were refused are remembered until they are there."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pytest

from raybench.errors import DataError
from raybench.scoring.coverage import told, usual_before
from raybench.scoring.planning import plan_dates
from raybench.scoring.refused import Begun, is_begun, note_refused, read_refused, refused_uri

FACTS = {"scored": 1, "usual": 6, "run_id": "r"}


def test_what_was_refused_is_noted_until_it_is_done(tmp_path: Path) -> None:
    to = str(tmp_path / "scores")
    note_refused(to, {"2020-01-02": FACTS}, [])
    note_refused(to, {"2020-01-03": FACTS}, ["2020-01-01"])
    assert read_refused(to) == {date(2020, 1, 2): FACTS, date(2020, 1, 3): FACTS}
    note_refused(to, {}, ["2020-01-02"])
    assert list(read_refused(to)) == [date(2020, 1, 3)]
    note_refused(to, {}, ["2020-01-03"])
    assert list(tmp_path.iterdir()) == []


def test_what_is_begun_is_noted_beside_it(tmp_path: Path) -> None:
    to = str(tmp_path / "scores")
    note_refused(to, {"2020-01-02": FACTS}, [])
    begun = Begun(to, ["2020-01-03", "2020-01-06"], read_refused(to))
    assert begun.known is not None
    begun.note()
    assert begun.known is None, "there is more now than was read"
    assert {str(day): is_begun(facts) for day, facts in read_refused(to).items()} == {
        "2020-01-02": False,
        "2020-01-03": True,
        "2020-01-06": True,
    }
    note_refused(to, {"2020-01-06": FACTS}, ["2020-01-03"])
    assert read_refused(to) == {date(2020, 1, 2): FACTS, date(2020, 1, 6): FACTS}


@pytest.mark.parametrize(
    ("there", "left"),
    [([], []), (["2020-01-03"], []), (["2020-01-06"], ["2020-01-03"]), (["2020-01-03", "2020-01-07"], ["2020-01-06"])],
)
def test_what_lies_behind_the_last_date_that_is_there_is_not_kept_in_mind(
    tmp_path: Path, there: list[str], left: list[str]
) -> None:
    to = str(tmp_path / "scores")
    begun = Begun(to, ["2020-01-03", "2020-01-06", "2020-01-07"], None)
    begun.forget(lambda: there)
    assert list(tmp_path.iterdir()) == [], "nothing was noted"
    begun.note()
    begun.forget(lambda: there)
    assert list(map(str, read_refused(to))) == left


def test_one_date_is_not_noted(tmp_path: Path) -> None:
    Begun(str(tmp_path / "scores"), ["2020-01-03"], None).note()
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_where_nothing_changes(tmp_path: Path) -> None:
    note_refused(str(tmp_path / "scores"), {}, ["2020-01-02"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["", "[]", '{"soon": {}}', '{"2020-01-02": 3}', "\xff"])
def test_a_damaged_note_is_one_line(tmp_path: Path, content: str) -> None:
    to = str(tmp_path / "scores")
    Path(refused_uri(to)).write_text(content, encoding="latin-1")
    with pytest.raises(DataError, match=r"refused.json: cannot be read"):
        read_refused(to)


def test_since_last_comes_back_to_what_was_refused() -> None:
    calendar = np.arange("2020-01-01", "2020-01-08", dtype="datetime64[D]").astype("datetime64[us]")
    days = {n: date(2020, 1, n) for n in range(1, 8)}
    refused = [days[2], days[3], date(2019, 12, 1)]
    plan = plan_dates(calendar, start=days[3], end=None, present=[days[4], days[5]], refused=refused, since_last=True)
    assert plan.missing.tolist() == [days[3], days[6], days[7]], "not before --start, and not what the data lack"


def test_usual_is_the_median_of_the_dates_before() -> None:
    every = np.arange("2020-01-01", "2020-01-11", dtype="datetime64[D]")
    counts = np.array([6, 6, 7, 6, 6, 1, 1, 6, 6, 6])
    assert usual_before(every, counts, every[5:8], trained_on=3).tolist() == [6, 6, 6]
    assert usual_before(every, counts, every[:5], trained_on=3).tolist() == [3] * 5


def test_some_days_are_named_and_the_rest_counted() -> None:
    assert told(["a", "b"]) == "a, b"
    assert told(list("abcde")) == "a, b, c and 2 more dates"
