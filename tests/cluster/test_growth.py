"""What a cluster may have at most, as Ray says it and as a user does."""

from __future__ import annotations

from typing import Any

import pytest
from ray.core.generated.autoscaler_pb2 import ClusterConfig

from raybench.cluster.growth import VARIABLE, of_ray, said_by_user
from raybench.cluster.resources import UNBOUNDED, Capacity, Node, could_be, plan_workers
from raybench.config import ClusterConfig as Wanted
from raybench.errors import ResourceError


def group(count: int, **resources: int) -> dict[str, Any]:
    return {"max_count": count, "resources": resources}


@pytest.mark.parametrize(
    ("groups", "nodes"),
    [
        ([group(1, CPU=2), group(3, CPU=16, GPU=4)], (Node(cpus=2), Node(cpus=16, gpus=4, count=3))),
        ([group(-1, CPU=4)], (Node(cpus=4, count=UNBOUNDED),)),
        ([], ()),
    ],
)
def test_what_an_autoscaler_says_of_itself(groups: list[dict[str, Any]], nodes: tuple[Node, ...]) -> None:
    config = ClusterConfig()
    for each in groups:
        config.node_group_configs.add(**each)
    assert of_ray(config) == nodes
    assert of_ray(None) == ()


@pytest.mark.parametrize(
    ("given", "nodes"),
    [
        ("8x16", (Node(cpus=16, count=8),)),
        (" 2x64x8, 4x32 ", (Node(cpus=64, gpus=8, count=2), Node(cpus=32, count=4))),
        ("", ()),
    ],
)
def test_what_a_user_says(given: str, nodes: tuple[Node, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, given)
    assert said_by_user() == nodes


@pytest.mark.parametrize("given", ["8", "8x", "x16", "0x16", "8x0", "8x16,", "-8x16", "8x16x2x1", "8 16"])
def test_what_it_cannot_mean_is_refused_with_what_is_wanted(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, given)
    with pytest.raises(ResourceError, match=f"{VARIABLE} is .*; want nodes as COUNTxCPUS"):
        said_by_user()


def test_a_plan_beyond_the_nodes_there_are_is_made_where_the_user_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "4x8")
    there = (Node(cpus=8),)
    plan = {"num_workers": 4, "cpus_per_worker": 8}
    grows = Capacity(nodes=there, could_be=could_be(said_by_user(), there), cores=8)
    assert plan_workers(Wanted(**plan), grows, streaming=False).number == 4
    with pytest.raises(ResourceError, match="at most 4 nodes of 8 CPUs"):
        plan_workers(Wanted(**plan | {"num_workers": 5}), grows, streaming=False)
    with pytest.raises(ResourceError, match="has 1 node of 8 CPUs"):
        plan_workers(Wanted(**plan), Capacity(nodes=there, cores=8), streaming=False)
