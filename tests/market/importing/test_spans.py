"""Universes that come with an append, laid over those that are there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from raybench.errors import DataError
from raybench.market.bars import open_bars
from raybench.market.universe import ALWAYS, Universe, make_universe
from tests.market.importing.worlds import DAYS, append, assert_same_content, files_of, flat, full


def names_only(*names: str) -> dict[str, Universe]:
    """A list of names without dates."""
    still = np.full(len(names), np.datetime64("NaT", "us"))
    return {"pool": make_universe("pool", names, np.full(len(names), ALWAYS), still, where="test")}


def members(folder: Path, day: int) -> list[str]:
    pool = open_bars(folder / "bars").listed("pool")
    moment = np.array([DAYS[day].to_numpy()], "datetime64[us]")
    return [name for name in pool.instruments if pool.contains(name, moment)[0]]


def test_a_list_without_dates_says_who_is_a_member_from_now_on(tmp_path: Path) -> None:
    rows = flat(6, 60)
    full(rows[rows["datetime"] < DAYS[58]], names_only("I0", "I1", "I3"), tmp_path)
    new = rows[rows["datetime"] >= DAYS[57]]
    done = append(new, names_only("I0", "I1", "I4"), tmp_path)
    assert [members(tmp_path, day) for day in (0, 57)] == [["I0", "I1", "I3"]] * 2
    assert [members(tmp_path, day) for day in (58, 59)] == [["I0", "I1", "I4"]] * 2
    assert [note for note in done.notes if "pool" in note] == [
        "universe pool: a list without dates says who is a member from 2020-03-26 on: 1 joined (I4), 1 left (I3); "
        "before that its members are as they were (a list with start and end says when)"
    ]
    files = files_of(tmp_path / "bars")
    again = append(new, names_only("I0", "I1", "I4"), tmp_path)
    assert (again.changed, files_of(tmp_path / "bars")) == (False, files)
    assert not [note for note in again.notes if "pool" in note]
    append(new, names_only("I0", "I1", "I3", "I4"), tmp_path)  # who comes back is no member of the days between
    assert members(tmp_path, 57) == ["I0", "I1", "I3"]
    assert members(tmp_path, 59) == ["I0", "I1", "I4"]


def test_the_same_list_again_is_as_one_import(tmp_path: Path) -> None:
    rows = flat(6, 60)
    full(rows[rows["datetime"] < DAYS[58]], names_only("I0", "I1"), tmp_path)
    append(rows[rows["datetime"] >= DAYS[58]], names_only("I0", "I1"), tmp_path)
    full(rows, names_only("I0", "I1"), tmp_path / "once")
    assert_same_content(open_bars(tmp_path / "bars"), open_bars(tmp_path / "once" / "bars"))


@pytest.mark.parametrize(
    ("universe", "says"),
    [
        ({"pool": names_only("000001.SZ")["pool"]}, r"universe pool: none of its 1 instrument has bars.*000001\.SZ"),
        ({"all": names_only("I0")["pool"]}, "universe all is made from the bars; give yours another name"),
    ],
)
def test_a_universe_that_an_import_refuses_is_refused(tmp_path: Path, universe: dict[str, Universe], says: str) -> None:
    rows = flat(6, 60)
    full(rows[rows["datetime"] < DAYS[58]], {}, tmp_path)
    before = files_of(tmp_path / "bars")
    for bring in (lambda: append(rows, universe, tmp_path), lambda: full(rows, universe, tmp_path / "once")):
        with pytest.raises(DataError, match=says):
            bring()
    assert files_of(tmp_path / "bars") == before


def test_members_that_are_there_and_not_in_what_comes_are_known(tmp_path: Path) -> None:
    """A delivery of one instrument, and a universe of others that have bars."""
    rows = flat(6, 60)
    full(rows[rows["datetime"] < DAYS[58]], {}, tmp_path)
    one = rows[(rows["instrument"] == "I5") & (rows["datetime"] < DAYS[58])]
    append(one, names_only("I0", "I1"), tmp_path)
    assert members(tmp_path, 30) == ["I0", "I1"]
