"""Between the loss of training workers and the next group of them; nodes, their answers and the clock are made up."""

from __future__ import annotations

from typing import Any

import pytest
from ray.exceptions import ActorDiedError

from raybench.cluster import regroup as module
from raybench.cluster.regroup import Regroups, Surroundings
from raybench.cluster.resources import Node, Workers
from raybench.errors import DataError, ResourceError, UserError

TWO = Workers(number=2, cpus=4, gpu=False)
LOST: dict[int, Exception] = {1: ActorDiedError()}


class World:
    """Two nodes of 4 CPUs; the second is there until ``gone`` and again from ``back`` on, Ray needs 20 s to notice."""

    def __init__(self, gone: float = 1e9, back: float = 1e9, growth: tuple[Node, ...] = ()) -> None:
        self.clock, self.gone, self.back, self.growth = 0.0, gone, back, growth
        self.notes: list[str] = []
        self.lost: list[dict[int, str]] = []

    def nodes(self) -> list[dict[str, Any]]:
        noticed = self.gone + 20 <= self.clock < self.back
        return [
            {"Alive": alive, "NodeManagerAddress": host, "NodeManagerPort": 1, "Resources": {"CPU": 4.0}}
            for host, alive in (("A", True), ("B", not noticed))
        ]

    def sleep(self, seconds: float) -> None:
        self.clock += seconds

    def add(self, kind: str, value: Any) -> None:
        if kind == "lost":
            self.lost.append(value)
        else:
            assert kind == "note"
            self.notes.append(value)

    def regroup(
        self, errors: dict[int, Exception] = LOST, workers: Workers = TWO, told: tuple[Node, ...] = ()
    ) -> float:
        around = Surroundings(
            nodes=self.nodes,
            reaches=lambda host, port: host == "A" or not self.gone <= self.clock < self.back,
            growth=lambda: self.growth,
            now=lambda: self.clock,
            sleep=self.sleep,
        )
        began = self.clock
        Regroups(self, workers, around, growth=told, patience=60).after_exception(None, errors)  # type: ignore[arg-type]
        return self.clock - began


def test_a_process_that_was_killed_is_named_and_replaced_at_once() -> None:
    world = World()
    assert world.regroup() == 0
    assert world.lost == [{1: "its process was killed"}]
    assert world.notes == []


def test_a_node_that_went_is_waited_for_until_ray_knows() -> None:
    world = World(gone=0)
    assert 19 <= world.regroup(workers=Workers(number=1, cpus=4, gpu=False)) < 25
    assert world.notes == []


def test_one_that_comes_back_is_gone_on_with() -> None:
    world = World(gone=0, back=50)
    assert 49 <= world.regroup() < 55
    assert world.notes == [
        "a node is gone: 2 workers of 4 CPUs have no room on 1 node of 4 CPUs; waiting for it to come back, for 60 s "
        "at most (RAYBENCH_NODE_SECONDS)"
    ]


def test_one_that_does_not_is_the_cause() -> None:
    world = World(gone=0)
    with pytest.raises(
        ResourceError, match=r"a node is gone.*in 60 s.*2 workers of 4 CPUs, the cluster 1 node of 4 CPUs.*--resume"
    ):
        world.regroup()
    assert world.clock < module.NOTICE_SECONDS + 60


def test_a_cluster_that_grows_is_left_to_grow() -> None:
    growth = (Node(cpus=4, count=5),)
    for world, told in ((World(gone=0, growth=growth), ()), (World(gone=0), growth)):
        assert world.regroup(told=told) < 25
        assert world.notes == [
            "a node is gone: 2 workers of 4 CPUs wait until the cluster has grown; it has 1 node of 4 CPUs"
        ]
    full = World(growth=growth)
    full.regroup()
    assert full.notes == []  # a process was lost, and no node


def test_an_error_of_the_user_is_raised_at_once() -> None:
    world = World(gone=0)
    with pytest.raises(UserError, match="mine"):
        world.regroup({0: DataError("mine")})
    assert world.clock == 0
