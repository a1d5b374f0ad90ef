"""What is said where somebody waits for what others hold; what Ray says is free is made up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
import ray

from raybench.cluster import room
from raybench.cluster.room import Wish, told_of_waiting
from tests.notes import Notes

WISH = Wish(what="2 workers take", cpus=2, gpus=1)


@pytest.mark.parametrize(
    ("free", "said"),
    [
        ({"CPU": 2.0, "GPU": 1.0}, None),
        ({}, "2 workers take 2 CPUs, and 0 of the 4 CPUs of the cluster are free: waiting until"),
        ({"CPU": 1.0, "GPU": 1.0}, "2 workers take 2 CPUs, and 1 of the 4 CPUs of the cluster is free: waiting until"),
        ({"CPU": 3.0, "GPU": 0.5}, "2 workers take 1 GPU, and 0.5 of the 1 GPU of the cluster are free: waiting until"),
    ],
)
def test_what_lacks_is_named(monkeypatch: pytest.MonkeyPatch, free: dict[str, float], said: str | None) -> None:
    monkeypatch.setattr(ray, "available_resources", lambda: free)
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 4.0, "GPU": 1.0})
    found = room.held_by_others(WISH)
    assert found is None if said is None else str(found).startswith(said)


def test_it_is_said_once_for_each_wait() -> None:
    said, here = Notes(), threading.Event()
    with told_of_waiting(WISH, here, said, held=lambda wish: wish.what, after=0.1, every=0.01):
        _until(lambda: said.lines == ["2 workers take"])
        time.sleep(0.3)
        here.set()
        time.sleep(0.1)
        assert said.lines == ["2 workers take"]
        here.clear()
        _until(lambda: said.lines == ["2 workers take"] * 2)


def test_nothing_is_said_of_a_start_that_is_slow_for_another_reason() -> None:
    said, asked = Notes(), threading.Event()

    def free(wish: Wish) -> None:
        asked.set()

    with told_of_waiting(WISH, threading.Event(), said, held=free, after=0.05, every=0.01):
        assert asked.wait(20)
    assert said.lines == []


def _until(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.01)
