"""What a training may take is decided before anything waits for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from raybench.cluster.resources import (
    Capacity,
    Node,
    Workers,
    could_be,
    held_back,
    plan_training,
    plan_trials,
    plan_workers,
    this_machine,
)
from raybench.config import ClusterConfig, Config, load_config
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


HERE = Capacity(nodes=(Node(cpus=3),), cores=2)  # a session of its own on two cores
CARD = Capacity(nodes=(Node(cpus=17, gpus=2),), cores=16, gpu_bytes=80 * 2**30)
APART = Capacity(nodes=(Node(cpus=16), Node(cpus=4, gpus=1)), cores=16, gpu_bytes=80 * 2**30)
EIGHTS = Capacity(nodes=(Node(cpus=8), Node(cpus=8)), cores=8)


def search(**changes: Any) -> Config:
    """The shipped GRU with a search in it."""
    path = Path(__file__).parents[2] / "configs" / "gru_alpha158.yaml"
    return load_config(path, {key.replace("__", "."): value for key, value in changes.items()})


@pytest.mark.parametrize(
    ("asked", "there", "plan"),
    [
        ({}, HERE, (1, 2, 0.0)),
        ({"tune__resources_per_trial": {"cpu": 2}}, HERE, (2, 1, 0.0)),
        ({"tune__max_concurrent": 1}, HERE, (1, 1, 0.0)),
        ({"tune__max_concurrent": 9}, HERE, (1, 3, 0.0)),
        ({}, EIGHTS, (1, 16, 0.0)),
        ({"tune__resources_per_trial": {"cpu": 3}}, EIGHTS, (3, 4, 0.0)),  # two on each node
        ({}, CARD, (1, 16, 1 / 8)),  # the estimate is bounded by cores
        ({"tune__resources_per_trial": {"gpu": 0.5}}, CARD, (1, 4, 0.5)),
        ({"tune__resources_per_trial": {"gpu": 0.6}}, CARD, (1, 2, 0.6)),
        ({"tune__resources_per_trial": {"gpu": 2}}, CARD, (1, 1, 2.0)),
        ({"tune__resources_per_trial": {"gpu": 0}}, CARD, (1, 16, 0.0)),
        ({"tune__resources_per_trial": {"cpu": 4, "gpu": 1}}, APART, (4, 1, 1.0)),
        ({"tune__resources_per_trial": {"cpu": 2, "gpu": 0.5}}, APART, (2, 2, 0.5)),
    ],
)
def test_trials_follow_the_nodes(asked: dict[str, Any], there: Capacity, plan: tuple[int, int, float]) -> None:
    workers, concurrent, gpu = plan_trials(search(**asked), there, panel_bytes=2**30)
    assert (workers.cpus, concurrent) == plan[:2]
    assert gpu == pytest.approx(plan[2])
    assert workers.gpu == (plan[2] > 0)


@pytest.mark.parametrize(
    ("asked", "there", "told"),
    [
        (
            {"tune__resources_per_trial": {"cpu": 3}},
            HERE,
            r"resources_per_trial\.cpu is 3 but the largest node has 2 CPUs",
        ),
        ({"tune__resources_per_trial": {"gpu": 1}}, HERE, r"gpu is 1, and no node has more than 0 GPUs"),
        (
            {"tune__resources_per_trial": {"gpu": 1.5}},
            CARD,
            r"gpu is 1\.5, and Ray gives .* up to 1, or a whole number",
        ),
        ({"tune__resources_per_trial": {"gpu": 3}}, CARD, r"gpu is 3, and no node has more than 2 GPUs"),
        (
            {"tune__resources_per_trial": {"cpu": 8, "gpu": 1}},
            APART,
            r"no node has 8 CPUs and 1 of its GPUs at once: .* 1 node of 16 CPUs, 1 node of 4 CPUs and 1 GPU; lower",
        ),
        ({"tune__resources_per_trial": {"cpu": 8}}, APART, r"at once.* or set tune\.resources_per_trial\.gpu to 0"),
        (
            {"cluster__num_workers": 2, "tune__scheduler": {"type": "pbt"}, "tune__space": None},
            EIGHTS,
            r"scheduler pbt copies .*cluster\.num_workers is 2.* to 1, or tune\.scheduler\.type to asha",
        ),
        ({"cluster__num_workers": 2, "tune__scheduler": {"type": "hyperband"}}, EIGHTS, r"scheduler hyperband pauses"),
        ({"cluster__num_workers": 2, "tune__resources_per_trial": {"cpu": 2}}, EIGHTS, r"for trials of one worker"),
    ],
)
def test_trials_that_no_node_holds_are_refused(asked: dict[str, Any], there: Capacity, told: str) -> None:
    with pytest.raises(ResourceError, match=told):
        plan_trials(search(**asked), there, panel_bytes=2**30)


def test_the_spare_cpu_of_a_session_here_is_for_no_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    with pytest.raises(ResourceError, match="the largest node has 2 CPUs"):
        plan_trials(search(tune__resources_per_trial={"cpu": 3}), this_machine(gpus=0), panel_bytes=1)


@pytest.mark.parametrize(
    ("cpus", "gpu", "concurrent", "there", "share"),
    [
        (1, 0.0, 2, HERE, 1.5),
        (1, 0.0, 3, HERE, 1.0),
        (2, 0.0, 1, HERE, 2.0),
        (1, 0.0, 4, EIGHTS, 4.0),
        (1, 0.0, 3, EIGHTS, 8.0),  # of two equal nodes both have as many
        (1, 0.0, 1, EIGHTS, 8.0),  # and one begins on each: more no node has
        (1, 0.5, 1, APART, 4.0),
        (1, 0.0, 1, APART, 16.0),
    ],
)
def test_trials_are_held_back_by_what_one_node_has(
    cpus: int, gpu: float, concurrent: int, there: Capacity, share: float
) -> None:
    assert held_back(cpus, gpu, concurrent, there) == share
