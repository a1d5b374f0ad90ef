"""What a training may take is decided before anything waits for it."""

from __future__ import annotations

from typing import Any

import pytest

from raybench.cluster.resources import Capacity, Workers, plan_workers
from raybench.config import ClusterConfig
from raybench.errors import ResourceError

LAPTOP = Capacity(cpus=8, gpus=0, largest_node=8, cores=8)
GPU_NODES = Capacity(cpus=64, gpus=4, largest_node=32, cores=32)


@pytest.mark.parametrize(
    ("wanted", "there", "streaming", "workers"),
    [
        ({}, LAPTOP, False, Workers(number=1, cpus=8, gpu=False)),
        ({}, LAPTOP, True, Workers(number=1, cpus=7, gpu=False)),
        ({"num_workers": 2}, LAPTOP, False, Workers(number=2, cpus=4, gpu=False)),
        ({"num_workers": 3, "cpus_per_worker": 2}, LAPTOP, False, Workers(number=3, cpus=2, gpu=False)),
        ({}, GPU_NODES, False, Workers(number=4, cpus=16, gpu=True)),
        ({"use_gpu": False, "num_workers": 2}, GPU_NODES, False, Workers(number=2, cpus=32, gpu=False)),
    ],
)
def test_workers_follow_the_cluster(wanted: dict[str, Any], there: Capacity, streaming: bool, workers: Workers) -> None:
    assert plan_workers(ClusterConfig(**wanted), there, streaming=streaming) == workers


@pytest.mark.parametrize(
    ("wanted", "there", "streaming", "key"),
    [
        ({"num_workers": 9}, LAPTOP, False, "cluster.num_workers"),
        ({"num_workers": 4, "cpus_per_worker": 2}, LAPTOP, True, "Ray Data"),
        ({"cpus_per_worker": 9}, LAPTOP, False, "cluster.cpus_per_worker"),
        ({"use_gpu": True}, LAPTOP, False, "cluster.use_gpu"),
        ({"num_workers": 5}, GPU_NODES, False, "4 GPUs"),
    ],
)
def test_too_much_is_refused_with_the_key_to_change(
    wanted: dict[str, Any], there: Capacity, streaming: bool, key: str
) -> None:
    with pytest.raises(ResourceError, match=key):
        plan_workers(ClusterConfig(**wanted), there, streaming=streaming)
