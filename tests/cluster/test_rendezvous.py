"""How workers meet is decided by the nodes they are on; tests/cluster/test_listening.py looks at their sockets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from raybench.cluster import rendezvous as module
from raybench.cluster.rendezvous import OneNodeBackend, OneNodeConfig


class Group:
    """Workers on nodes of these names; what they are told is written down."""

    def __init__(self, *nodes: str) -> None:
        self.nodes, self.told = nodes, list[tuple[str, tuple[Any, ...]]]()

    def execute(self, call: Callable[..., Any]) -> list[Any]:
        self.told.append((call.__name__, ()))
        return list(self.nodes)

    def execute_single(self, index: int, call: Callable[..., Any], *given: Any) -> int:
        self.told.append((call.__name__, (index, *given)))
        return 4711

    def execute_single_async(self, index: int, call: Callable[..., Any], *given: Any) -> None:
        self.told.append((call.__name__, (index, *given)))

    def __len__(self) -> int:
        return len(self.nodes)


@pytest.fixture
def ray_trains(monkeypatch: pytest.MonkeyPatch) -> list[Group]:
    """The groups that Ray Train's own way was taken for."""
    groups: list[Group] = []
    base = OneNodeBackend.__mro__[1]
    monkeypatch.setattr(base, "on_start", lambda self, group, config: groups.append(group))
    monkeypatch.setattr(module.ray, "get", lambda found: found)
    return groups


def test_workers_on_one_node_join_a_store_that_the_first_serves(ray_trains: list[Group]) -> None:
    group = Group("A", "A")
    config = OneNodeConfig(backend="gloo", timeout_s=9)
    assert config.backend_cls is OneNodeBackend
    OneNodeBackend().on_start(group, config)
    assert ray_trains == []
    assert [told for told in group.told if told[0] in ("_serve", "_join")] == [
        ("_serve", (0, 9)),
        ("_join", (0, 4711, 0, 2, "gloo", 9)),
        ("_join", (1, 4711, 1, 2, "gloo", 9)),
    ]


def test_workers_on_several_nodes_meet_as_ray_train_has_them_meet(ray_trains: list[Group]) -> None:
    group = Group("A", "B")
    OneNodeBackend().on_start(group, OneNodeConfig(backend="gloo"))
    assert ray_trains == [group]
    assert [name for name, _ in group.told] == ["_node"]
