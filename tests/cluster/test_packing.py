"""What a fit of a bench takes, and how many have room."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest

from raybench.cluster.own_memory import OwnMemory, own_mib
from raybench.cluster.packing import Room, Share, share_of
from raybench.cluster.resources import Capacity, Node, cores
from raybench.config import Config
from raybench.errors import ResourceError

MakeConfig = Callable[..., Config]
LAPTOP = Capacity(nodes=(Node(cpus=3.0),), cores=2)
CARD = Capacity(nodes=(Node(cpus=16.0, gpus=1.0),), cores=16, gpu_bytes=80 * 2**30)
GIB = 2**30


def test_a_fit_is_one_thread_unless_told(make_config: MakeConfig) -> None:
    config = make_config(cluster__num_workers=1, cluster__cpus_per_worker="null")
    assert share_of(config, LAPTOP, panel_bytes=GIB) == Share(cpus=1)
    assert share_of(make_config(cluster__cpus_per_worker=2), LAPTOP, panel_bytes=GIB).cpus == 2


def test_cards_are_shared_by_their_memory(make_config: MakeConfig) -> None:
    config = make_config(cluster__num_workers=1)
    assert share_of(config, CARD, panel_bytes=GIB).gpu == pytest.approx(1 / 16), "cores bound it"
    assert share_of(config, CARD, panel_bytes=6 * GIB).gpu == pytest.approx(1 / 10)
    assert share_of(config, CARD, panel_bytes=90 * GIB).gpu == 1.0
    assert share_of(make_config(cluster__use_gpu=False), CARD, panel_bytes=GIB) == Share(cpus=1)
    line = make_config(model="{type: lightgbm}", data__step_len=1, cluster__num_workers=1)
    assert share_of(line, CARD, panel_bytes=GIB).gpu == 0.0, "what one process fits directly needs none"
    with pytest.raises(ResourceError, match=r"cluster\.cpus_per_worker is 3 but the largest node has 2 CPUs"):
        share_of(make_config(cluster__cpus_per_worker=3), LAPTOP, panel_bytes=GIB)
    with pytest.raises(ResourceError, match=r"cluster\.use_gpu is true but the cluster has no GPU"):
        share_of(make_config(cluster__use_gpu=True), LAPTOP, panel_bytes=GIB)


def test_room_is_for_real_cores() -> None:
    assert cores(LAPTOP) == 2.0
    assert cores(Capacity(nodes=(Node(cpus=4.0, count=3),), cores=2)) == 12.0
    room = Room(LAPTOP)
    room.take(Share())
    room.take(Share())
    assert not room.has(Share())
    room.give_back(Share())
    assert room.has(Share())
    assert not room.has(Share(cpus=2))
    room.give_back(Share())
    assert room.has(Share(cpus=3)), "what a node has for one fit alone was checked before"
    shared = Room(CARD)
    for _ in range(10):
        assert shared.has(Share(gpu=0.1))
        shared.take(Share(gpu=0.1))
    assert not shared.has(Share(gpu=0.1))
    assert shared.has(Share())


def test_own_memory_is_what_was_held_at_most() -> None:
    before = own_mib()
    with OwnMemory() as memory:
        block = np.ones(64 * 2**20, dtype=np.uint8)
        assert own_mib() > before + 50
        time.sleep(0.3)  # looked at every 50 ms
        del block
    assert memory.peak_mib > before + 50
    assert 0 < own_mib() < memory.peak_mib
