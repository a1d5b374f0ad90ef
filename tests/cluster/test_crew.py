"""Pieces of work on processes that may be lost at any moment, without Ray: its answers and its clock are made up."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from ray.exceptions import ActorDiedError, RayTaskError

from raybench.cluster import crew as module
from raybench.cluster.crew import LOSSES, Crew, Hands, let_go
from raybench.cluster.waits import ALONE_SECONDS
from raybench.errors import DataError, RaybenchError, ResourceError
from tests.notes import Notes


class Cluster:
    """Each answer takes a second. ``nodes``: where the n-th process is started; ``alive``: whether a node is there.

    Pieces may be ``deadly`` to each process, ``broken`` or ``endless`` for the first ``times`` that they are done.
    Before ``queue`` all that there is is held by others, and no process can start.
    """

    def __init__(
        self,
        alive: Callable[[str, float], bool] = lambda node, now: True,
        nodes: str = "AB",
        deadly: str = "",
        broken: str = "",
        endless: str = "",
        times: int = 1,
        queue: float = 0.0,
    ) -> None:
        self.clock, self.hired = 0.0, 0
        self.alive, self.nodes, self.deadly = alive, nodes, deadly
        self.broken, self.endless, self.times, self.queue = broken, endless, times, queue
        self.stopped: list[str] = []
        self.dismissed: list[str] = []
        self.given: Counter[str] = Counter()
        self.references: dict[str, Callable[[], Any]] = {}

    @property
    def hands(self) -> Hands:
        return Hands(
            hire=self.hire,
            greet=lambda actor: self.refer(actor, "hello"),
            give=self.give,
            dismiss=self.dismissed.append,
            allowed=lambda piece: 30.0,
            wait=self.wait,
            get=lambda reference: self.references[reference](),
            busy=lambda: "others hold it" if self.clock < self.queue else None,
            now=lambda: self.clock,
        )

    def hire(self) -> str:
        self.hired += 1
        return f"{self.nodes[(self.hired - 1) % len(self.nodes)]}{self.hired}"

    def give(self, actor: str, piece: str) -> str:
        self.given[piece] += 1
        if piece in self.endless.split() and self.given[piece] <= self.times:
            self.stopped.append(actor)
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
        if what in self.broken.split() and self.given[what] <= self.times:
            raise RayTaskError("work", "traceback", RuntimeError("boom"))
        return actor if what == "hello" else what

    def wait(self, references: list[str], *, num_returns: int, timeout: float) -> tuple[list[str], list[str]]:
        self.clock += 1.0 if timeout else 0.0
        ended = [reference for reference in references if not self.hangs(reference)][:num_returns]
        return ended, [reference for reference in references if reference not in ended]

    def hangs(self, reference: str) -> bool:
        """Whether a piece has no result: its process stops in the middle of it, the first ``times``."""
        actor, what, _ = reference.split()
        if what == "hello" and self.clock < self.queue:
            return True
        return what in self.endless.split() and actor in self.stopped


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
    assert ALONE_SECONDS < cluster.clock < ALONE_SECONDS + 60
    assert cluster.hired < 60  # not every moment


def test_what_others_hold_is_waited_for_as_in_a_queue() -> None:
    notes, cluster = Notes(), Cluster(queue=20 * ALONE_SECONDS)
    assert sorted(results(cluster, *PIECES, progress=notes)) == PIECES
    assert notes.lines == ["others hold it"]


def test_processes_that_are_lost_as_they_start_are_no_queue() -> None:
    cluster = Cluster(lambda node, now: False)
    hands = dataclasses.replace(cluster.hands, now=lambda: _tick(cluster), busy=lambda: "others hold it")
    with pytest.raises(ResourceError, match="no process could be started on the cluster for 120 s"):
        list(Crew(hands=hands, size=2, progress=Notes()).results(PIECES, PIECES))


def test_a_piece_that_takes_its_process_down_is_given_up() -> None:
    cluster = Cluster(deadly="piece3")
    with pytest.raises(RaybenchError, match=rf"piece3: {LOSSES + 1} processes were lost on it.*its process was killed"):
        results(cluster, *PIECES)
    assert cluster.given["piece3"] == LOSSES + 1


def test_an_error_of_the_user_comes_out_as_itself() -> None:
    with pytest.raises(DataError, match="no such date"):
        results(Cluster(), "piece0", "refused")


def test_an_error_that_nobody_foresaw_is_tried_elsewhere() -> None:
    notes, cluster = Notes(), Cluster(broken="piece3")
    assert sorted(results(cluster, *PIECES, progress=notes)) == PIECES
    assert notes.lines == ["piece3: RuntimeError: boom; it is done again by another process"]
    assert cluster.hired == 3


def test_one_that_comes_again_is_the_end() -> None:
    cluster = Cluster(broken="piece3", times=99)
    with pytest.raises(RaybenchError, match=rf"piece3: {LOSSES + 1} .* or failed, the last because RuntimeError: boom"):
        results(cluster, *PIECES)
    assert cluster.given["piece3"] == LOSSES + 1


def test_a_process_that_hangs_is_named_and_ended_and_its_piece_done_by_another() -> None:
    notes, cluster = Notes(), Cluster(endless="piece3")
    assert sorted(results(cluster, *PIECES, progress=notes)) == PIECES
    (hung,) = cluster.stopped
    assert notes.lines == [
        f"piece3: {hung} brought no result for 30 s (RAYBENCH_RESULT_SECONDS) and was ended; it is done again by "
        "another process"
    ]
    assert cluster.dismissed[0] == hung
    assert 30 < cluster.clock < 90


def test_what_hangs_wherever_it_is_done_is_the_end() -> None:
    cluster = Cluster(endless="piece3", times=99)
    with pytest.raises(RaybenchError, match=r"piece3: .* brought no result for 30 s"):
        results(cluster, *PIECES)


def test_a_result_that_nobody_took_in_time_is_taken() -> None:
    cluster = Cluster()
    hands = dataclasses.replace(cluster.hands, now=lambda: cluster.clock)
    crew, seen = Crew(hands=hands, size=2, progress=Notes()), []
    for result in crew.results(PIECES, PIECES):
        cluster.clock += 100  # whoever takes the results is slow
        seen.append(result)
    assert sorted(seen) == PIECES
    assert set(cluster.given.values()) == {1}


def test_what_is_waited_for_is_told_once() -> None:
    notes, cluster = Notes(), Cluster(lambda node, now: not 5 < now < 90, nodes="A")
    assert sorted(results(cluster, *PIECES, progress=notes)) == PIECES
    (waits,) = [line for line in notes.lines if "waiting" in line]
    assert waits.endswith("for 120 s at most (RAYBENCH_NODE_SECONDS)")


def test_one_whose_end_ray_does_not_hear_of_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a process that was hired while the head was gone: to kill it waits for ever, and cannot be interrupted."""
    ended, never = list[str](), threading.Event()
    monkeypatch.setattr(module, "LETTING_GO_SECONDS", 0.2)
    monkeypatch.setattr(module.ray, "kill", lambda actor: ended.append(actor) or never.wait())
    began = time.monotonic()
    let_go("A1")
    assert time.monotonic() - began < 5
    assert ended == ["A1"]
    never.set()
