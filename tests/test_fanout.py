"""Calls on the threads of this process: in order, side by side, few ahead of who takes their results."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from raybench import fanout
from raybench.fanout import on_threads


@pytest.fixture(autouse=True)
def three_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fanout, "cores_of_this_process", lambda: 3)


def test_results_come_in_order() -> None:
    assert list(on_threads(lambda x: x * x, range(20))) == [x * x for x in range(20)]
    assert list(on_threads(str, [])) == []


def test_as_many_run_at_once_as_there_are_cores() -> None:
    together = threading.Barrier(3, timeout=20)
    assert sorted(on_threads(lambda _: together.wait(), range(3))) == [0, 1, 2]


def test_one_more_is_drawn_than_there_are_threads() -> None:
    drawn: list[int] = []

    def items() -> Iterator[int]:
        for item in range(100):
            drawn.append(item)
            yield item

    results = on_threads(str, items())
    assert drawn == []
    assert [next(results) for _ in range(2)] == ["0", "1"]
    assert len(drawn) == 4 + 2
    results.close()
    assert len(drawn) == 6


def test_an_error_comes_out_as_itself_and_little_more_begins() -> None:
    begun: list[int] = []

    def work(item: int) -> int:
        begun.append(item)
        if item == 2:
            raise ValueError("two")
        return item

    results = on_threads(work, range(500))
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="two"):
        next(results)
    assert len(begun) <= 6
    assert not [each for each in threading.enumerate() if each.name.startswith("fanout")]
