"""Numbers and what they count, as people say it."""

from __future__ import annotations

import pytest

from raybench.market.quality import serious
from raybench.reports.text import numbered


@pytest.mark.parametrize(
    ("count", "said"), [(0, "0 dates have no bars"), (1, "1 date has no bars"), (1200, "1,200 dates have no bars")]
)
def test_one_is_one(count: int, said: str) -> None:
    assert numbered(count, "date|dates has|have no bars") == said


def test_findings_of_one_and_of_many() -> None:
    one = {"left_out_instrument": {"count": 1, "examples": ["A"]}}
    many = {"left_out_instrument": {"count": 2, "examples": ["A", "B"]}}
    assert serious(one) == ("1 instrument left out, who has no row on the calendar: A",)
    assert serious(many) == ("2 instruments left out, who have no row on the calendar: A, B",)


@pytest.mark.parametrize("count", [1, 2])
def test_no_choice_is_left_in_a_finding(count: int) -> None:
    from raybench.market.quality import _SERIOUS

    for name in _SERIOUS:
        (line,) = serious({name: {"count": count, "examples": ["A"]}})
        assert "|" not in line
        assert line.startswith(f"{count} ")
