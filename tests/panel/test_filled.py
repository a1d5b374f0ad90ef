"""Numbers are counted by day, whatever parts the rows and columns come in."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from raybench.panel.filled import Filled, below, beside, count_filled

DAYS = np.arange("2020-01-01", "2020-01-11", dtype="datetime64[D]")
ALL = (DAYS[0], DAYS[-1])


def columns(rows: int = 30) -> dict[str, np.ndarray]:
    """Three rows a day: ``a`` is always there, ``b`` in one row of three, ``c`` not on the last day."""
    a_R, b_R, c_R = np.ones((3, rows), np.float32)
    b_R[np.arange(rows) % 3 > 0] = np.nan
    c_R[-3:] = np.inf
    return {"a": a_R, "b": b_R, "c": c_R}


def stamps(hours: int = 0) -> np.ndarray:
    return np.repeat(DAYS, 3).astype("datetime64[us]") + np.tile(np.arange(3), 10) * np.timedelta64(hours, "h")


@pytest.mark.parametrize("hours", [0, 5])
def test_numbers_are_counted_by_day(hours: int) -> None:
    filled = count_filled(columns(), stamps(hours))
    assert filled.names == ("a", "b", "c")
    assert filled.there_D.tolist() == [3] * 10
    assert filled.count_DK.tolist() == [[3, 1, 3]] * 9 + [[3, 1, 0]]


def test_a_row_without_any_number_is_not_there() -> None:
    filled = count_filled({"a": np.array([1, np.nan, np.nan]), "b": np.array([np.nan, 1, np.nan])}, stamps()[:3])
    assert (filled.rows_D.tolist(), filled.there_D.tolist(), filled.share_DK.tolist()) == ([3], [2], [[0.5, 0.5]])


def same(one: Filled | None, other: Filled) -> bool:
    return one is not None and all(np.array_equal(getattr(one, f.name), getattr(other, f.name)) for f in fields(Filled))


def test_parts_of_rows_and_of_columns_come_to_the_whole() -> None:
    whole, given, when = count_filled(columns(), stamps()), columns(), stamps()
    rows = [count_filled({n: x_R[i::2] for n, x_R in given.items()}, when[i::2]) for i in (0, 1)]
    assert same(below(rows), whole)
    assert same(beside([count_filled({n: x_R}, when) for n, x_R in given.items()]), whole)
    assert below([]) is None
    assert beside([]) is None


def test_usual_is_what_hardly_a_day_of_training_goes_without() -> None:
    filled = count_filled(columns(), stamps())
    assert filled.usual(ALL) == {"a": 1.0, "c": 1.0}
    assert filled.usual((DAYS[-1], DAYS[-1])) == {"a": 1.0}
    assert filled.usual((DAYS[0] - 9, DAYS[0] - 5)) == {}
