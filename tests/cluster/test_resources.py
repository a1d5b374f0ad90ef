"""What a training may take is decided before anything waits for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from raybench.cluster.resources import Capacity, Node, Workers, could_be, plan_training, plan_workers
from raybench.config import ClusterConfig, load_config
from raybench.errors import ResourceError

LAPTOP = Capacity(nodes=(Node(cpus=8),), cores=8)
GPU_NODES = Capacity(nodes=(Node(cpus=32, gpus=2, count=2),), cores=32)
BIG = Node(cpus=64, gpus=8)
MIXED = Capacity(nodes=(Node(cpus=16), Node(cpus=16), BIG, Node(cpus=96)), cores=16)
THIN = Capacity(nodes=(Node(cpus=0), Node(cpus=4, gpus=8)), cores=2)
GROWS = Capacity(nodes=(Node(cpus=2),), could_be=(Node(cpus=2), Node(cpus=16, gpus=4, count=3)), cores=2)


@pytest.mark.parametrize(
    ("wanted", "there", "streaming", "workers"),
    [
        ({}, LAPTOP, False, Workers(number=1, cpus=8, gpu=False)),
        ({}, LAPTOP, True, Workers(number=1, cpus=7, gpu=False)),
        ({"num_workers": 2}, LAPTOP, False, Workers(number=2, cpus=4, gpu=False)),
        ({"num_workers": 3, "cpus_per_worker": 2}, LAPTOP, False, Workers(number=3, cpus=2, gpu=False)),
        ({}, GPU_NODES, False, Workers(number=4, cpus=16, gpu=True)),
        ({"use_gpu": False, "num_workers": 2}, GPU_NODES, False, Workers(number=2, cpus=32, gpu=False)),
        ({}, MIXED, False, Workers(number=8, cpus=8, gpu=True)),
        ({"num_workers": 4}, MIXED, True, Workers(number=4, cpus=16, gpu=True)),
        ({"use_gpu": False}, MIXED, False, Workers(number=1, cpus=96, gpu=False)),
        ({"use_gpu": False, "num_workers": 3}, MIXED, False, Workers(number=3, cpus=48, gpu=False)),
        ({}, THIN, False, Workers(number=4, cpus=1, gpu=True)),
        ({}, GROWS, False, Workers(number=12, cpus=4, gpu=True)),
        ({"num_workers": 3}, GROWS, True, Workers(number=3, cpus=16, gpu=True)),
        ({"use_gpu": False}, GROWS, False, Workers(number=1, cpus=16, gpu=False)),
    ],
)
def test_workers_follow_the_nodes(wanted: dict[str, Any], there: Capacity, streaming: bool, workers: Workers) -> None:
    assert plan_workers(ClusterConfig(**wanted), there, streaming=streaming) == workers


def test_gpus_that_are_there_come_before_those_that_could_be() -> None:
    one = Capacity(nodes=(Node(cpus=16, gpus=4),), could_be=(Node(cpus=16, gpus=4, count=3),), cores=2)
    assert plan_workers(ClusterConfig(), one, streaming=False).number == 4
    assert plan_workers(ClusterConfig(num_workers=12), one, streaming=False).number == 12


@pytest.mark.parametrize(
    ("wanted", "there", "streaming", "told"),
    [
        (
            {"num_workers": 9},
            LAPTOP,
            False,
            "wants 9 workers of 1 CPU, the cluster has 1 node of 8 CPUs; .*num_workers",
        ),
        ({"num_workers": 4, "cpus_per_worker": 2}, LAPTOP, True, "Ray Data"),
        ({"cpus_per_worker": 9}, LAPTOP, False, "cpus_per_worker is 9, which no node has: .* 1 node of 8 CPUs"),
        ({"use_gpu": True}, LAPTOP, False, "cluster.use_gpu"),
        ({"num_workers": 5}, GPU_NODES, False, "5 workers of 1 CPU and a GPU.* 2 nodes of 32 CPUs and 2 GPUs.*use_gpu"),
        ({"cpus_per_worker": 80}, MIXED, False, "no node with a GPU has"),
        ({"num_workers": 3, "cpus_per_worker": 40, "use_gpu": False}, MIXED, False, None),
        ({"num_workers": 4, "cpus_per_worker": 40, "use_gpu": False}, MIXED, False, "4 workers of 40 CPUs"),
        ({"num_workers": 8}, THIN, False, "8 workers of 1 CPU and a GPU, .*1 node of 4 CPUs and 8 GPUs, 1 node of 0"),
        ({"num_workers": 13}, GROWS, False, "at most 3 nodes of 16 CPUs and 4 GPUs, 1 node of 2 CPUs"),
    ],
)
def test_a_plan_that_no_nodes_hold_is_refused_with_both_and_the_key_to_change(
    wanted: dict[str, Any], there: Capacity, streaming: bool, told: str | None
) -> None:
    if told is None:
        plan_workers(ClusterConfig(**wanted), there, streaming=streaming)
        return
    with pytest.raises(ResourceError, match=told):
        plan_workers(ClusterConfig(**wanted), there, streaming=streaming)


@pytest.mark.parametrize(
    ("most", "nodes"),
    [
        ((Node(cpus=2), Node(cpus=16, gpus=4, count=3)), None),
        ((Node(cpus=0), Node(cpus=16, count=0), Node(cpus=4)), (Node(cpus=4),)),
        ((Node(cpus=2),), ()),  # no more than there is
        ((Node(cpus=16, count=0),), ()),
        ((), ()),
    ],
)
def test_what_a_cluster_could_be(most: tuple[Node, ...], nodes: tuple[Node, ...] | None) -> None:
    assert could_be(most, (Node(cpus=2),)) == (most if nodes is None else nodes)


TWO_GPUS = Capacity(nodes=(Node(cpus=8, gpus=2),), cores=8)


@pytest.mark.parametrize("name", ["gats_alpha158", "hist_alpha360"])
def test_a_network_of_whole_dates_starts_on_two_gpus_as_it_is_shipped(name: str) -> None:
    path = Path(__file__).parents[2] / "configs" / f"{name}.yaml"
    shipped, one = load_config(path), load_config(path, ["train.dates_per_batch=1"])
    assert plan_training(shipped, TWO_GPUS, streaming=False, dates=True).number == 2
    assert plan_training(one, TWO_GPUS, streaming=False, dates=True).number == 1
    four = Capacity(nodes=(Node(cpus=8, gpus=4),), cores=8)
    three = load_config(path, ["train.dates_per_batch=3"])
    assert plan_training(three, four, streaming=False, dates=True).number == 3
