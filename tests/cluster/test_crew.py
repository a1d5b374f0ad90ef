"""Pieces of work on processes that may be lost at any moment, without Ray: its answers and its clock are made up."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from ray.exceptions import ActorDiedError, RayTaskError

from raybench.cluster import crew as module
from raybench.cluster.crew import LOSSES, PATIENCE_SECONDS, Crew, Hands
from raybench.errors import DataError, RaybenchError, ResourceError


class Cluster:
    """Each answer takes a second. ``nodes``: where the n-th process is started; ``alive``: whether a node is there."""

    def __init__(
        self, alive: Callable[[str, float], bool] = lambda node, now: True, nodes: str = "AB", deadly: str = ""
    ) -> None:
        self.clock, self.hired = 0.0, 0
        self.alive, self.nodes, self.deadly = alive, nodes, deadly
        self.done: list[str] = []
        self.given: Counter[str] = Counter()
        self.references: dict[str, Callable[[], Any]] = {}

    @property
    def hands(self) -> Hands:
        return Hands(
            hire=self.hire,
            greet=lambda actor: self.refer(actor, "hello"),
            give=self.give,
            dismiss=lambda actor: None,
            wait=self.wait,
            get=lambda reference: self.references[reference](),
            now=lambda: self.clock,
        )

    def hire(self) -> str:
        self.hired += 1
        return f"{self.nodes[(self.hired - 1) % len(self.nodes)]}{self.hired}"

    def give(self, actor: str, piece: str) -> str:
        self.given[piece] += 1
        return self.refer(actor, piece)

    def refer(self, actor: str, what: str) -> str:
        reference = f"{actor} {what} {len(self.references)}"
        self.references[reference] = lambda: self.answer(actor, what)
        return reference

    def answer(self, actor: str, what: str) -> Any:
        if not self.alive(actor[0], self.clock) or what in self.deadly.split():
            raise ActorDiedError
        if what == "refused":
            raise RayTaskError("work", "traceback", DataError("no such date"))
        return what

    def wait(self, references: list[str], *, num_returns: int, timeout: float) -> tuple[list[str], list[str]]:
        self.clock += 1.0
        return references[:1], references[1:]


class Notes:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)

    track: Any = None


@pytest.fixture(autouse=True)
def _no_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.time, "sleep", lambda seconds: None)


def results(cluster: Cluster, *pieces: str, size: int = 2, progress: Any = None) -> list[str]:
    hands = dataclasses.replace(cluster.hands, now=lambda: _tick(cluster))  # time passes while nobody works, too
    crew = Crew(hands=hands, size=size, progress=progress or Notes())
    return list(crew.results(pieces, pieces))


def _tick(cluster: Cluster) -> float:
    cluster.clock += 0.05
    return cluster.clock


PIECES = [f"piece{number}" for number in range(8)]


def test_every_piece_is_done_once() -> None:
    cluster = Cluster()
    assert sorted(results(cluster, *PIECES)) == PIECES
    assert cluster.hired == 2
    assert set(cluster.given.values()) == {1}


def test_no_more_are_hired_than_there_are_pieces() -> None:
    cluster = Cluster()
    assert results(cluster, "one", size=9) == ["one"]
    assert cluster.hired == 1


def test_what_is_left_of_a_cluster_does_it() -> None:
    """Node B goes and Ray, which does not know, would start each further process there."""
    notes = Notes()
    cluster = Cluster(lambda node, now: node == "A" or now < 4, nodes="AB" + "B" * 500)
    assert sorted(results(cluster, *PIECES, progress=notes)) == PIECES
    assert max(cluster.given.values()) == 2
    assert [line for line in notes.lines if "is done again by another process" in line]


def test_a_cluster_that_comes_back_is_waited_for() -> None:
    cluster = Cluster(lambda node, now: not 5 < now < 90, nodes="A")
    assert sorted(results(cluster, *PIECES)) == PIECES


def test_nobody_left_is_told_after_a_while() -> None:
    cluster = Cluster(lambda node, now: now < 5, nodes="A")
    with pytest.raises(ResourceError, match=r"no process could be started on the cluster for 120 s.*same command"):
        results(cluster, *PIECES)
    assert PATIENCE_SECONDS < cluster.clock < PATIENCE_SECONDS + 60
    assert cluster.hired < 60  # not every moment


def test_a_piece_that_takes_its_process_down_is_given_up() -> None:
    cluster = Cluster(deadly="piece3")
    with pytest.raises(RaybenchError, match=rf"piece3: {LOSSES + 1} processes were lost on it.*its process was killed"):
        results(cluster, *PIECES)
    assert cluster.given["piece3"] == LOSSES + 1


def test_an_error_of_the_user_comes_out_as_itself() -> None:
    with pytest.raises(DataError, match="no such date"):
        results(Cluster(), "piece0", "refused")
