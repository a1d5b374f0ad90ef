"""Joining Ray for as long as a command runs; Ray itself is not started here."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import ray
from ray.core.generated.autoscaler_pb2 import ClusterConfig

from raybench.cluster import session as module
from raybench.cluster.session import in_a_thread, session
from raybench.errors import ResourceError


@pytest.fixture
def no_ray(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., Any], str], list[str]]:
    """Put a function in place of ray.init; what is returned fills with ``shutdown`` when Ray is left."""
    left: list[str] = []

    def become(init: Callable[..., Any], address: str) -> list[str]:
        monkeypatch.setattr(ray, "is_initialized", lambda: False)
        monkeypatch.setattr(ray, "init", init)
        monkeypatch.setattr(ray, "shutdown", lambda: left.append("shutdown"))
        monkeypatch.setattr(module, "cluster_address", lambda progress: address)
        return left

    return become


def node(**resources: float) -> dict[str, Any]:
    return {"Alive": True, "Resources": resources}


def test_a_cluster_without_cpus_is_refused_at_once(no_ray: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    left = no_ray(lambda **options: None, "10.0.0.1:6379")
    dead = {"Alive": False, "Resources": {"CPU": 8.0}}
    monkeypatch.setattr(ray, "nodes", lambda: [node(GPU=2.0), node(memory=1.0), dead])
    monkeypatch.setattr(ray, "cluster_resources", dict)
    monkeypatch.setattr(module, "autoscaler", lambda: None)
    told = r"10\.0\.0\.1:6379 has no CPU \(1 node of 0 CPUs and 2 GPUs, 1 node of 0 CPUs\), and .* wants 1 at least"
    with pytest.raises(ResourceError, match=told), session():
        pass
    assert left == ["shutdown"]


def test_a_cluster_that_grows_from_nothing_is_joined_and_waited_for(
    no_ray: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_ray(lambda **options: None, "10.0.0.1:6379")
    grown = ClusterConfig()
    grown.node_group_configs.add(resources={"CPU": 8, "GPU": 2}, max_count=3)
    monkeypatch.setattr(ray, "nodes", lambda: [node(memory=1.0)])
    monkeypatch.setattr(ray, "cluster_resources", dict)
    monkeypatch.setattr(module, "autoscaler", lambda: grown)
    monkeypatch.setenv(module._WAIT_FOR_NODES, "")
    monkeypatch.delenv(module._WAIT_FOR_NODES)
    with session():
        there = module.capacity()
        assert os.environ[module._WAIT_FOR_NODES] == "900"
    assert (there.cpus, there.gpus, there.told()) == (24, 6, "at most 3 nodes of 8 CPUs and 2 GPUs")


@pytest.mark.parametrize(
    "error", [ConnectionError("no way. Long"), Exception("no way\nLong"), ray.exceptions.RayError("no way. Long")]
)
@pytest.mark.parametrize(("address", "said"), [("local", "does not start"), ("10.0.0.1:6379", "cannot join")])
def test_what_ray_refuses_is_one_line(no_ray: Any, error: Exception, address: str, said: str) -> None:
    def refuse(**options: Any) -> None:
        raise error

    left = no_ray(refuse, address)
    with pytest.raises(ResourceError, match=f"{said}.*no way") as caught, session():
        pass
    assert "Long" not in str(caught.value)
    assert left == ["shutdown"]


@pytest.mark.parametrize(
    ("address", "said"), [("local", "starting Ray"), ("10.0.0.1:6379", "joining the Ray cluster at 10.0.0.1:6379")]
)
def test_which_ray_is_used_is_said(no_ray: Any, monkeypatch: pytest.MonkeyPatch, address: str, said: str) -> None:
    lines: list[str] = []
    no_ray(lambda **options: None, address)
    monkeypatch.setattr(ray, "nodes", lambda: [{**node(CPU=2.0), "NodeManagerAddress": "10.0.0.1"}])
    monkeypatch.setattr(ray, "cluster_resources", dict)
    monkeypatch.setattr(module, "autoscaler", lambda: None)
    notes: Any = SimpleNamespace(note=lines.append)
    with session(progress=notes):
        pass
    assert said in lines


PLACES = {"--to": "/data/scores", "--bars": "s3://bucket/bars", "data.features": None}


@pytest.mark.parametrize(("hosts", "said"), [("AB", True), ("AA", False), ("A", False)])
def test_local_paths_are_named_where_machines_have_to_share_them(
    no_ray: Any, monkeypatch: pytest.MonkeyPatch, hosts: str, said: bool
) -> None:
    lines: list[str] = []
    notes: Any = SimpleNamespace(note=lines.append)
    no_ray(lambda **options: None, "10.0.0.1:6379")
    nodes = [{**node(CPU=2.0), "NodeManagerAddress": host} for host in hosts]
    monkeypatch.setattr(ray, "nodes", lambda: [*nodes, {**node(CPU=0.0), "NodeManagerAddress": "head"}])
    monkeypatch.setattr(ray, "cluster_resources", dict)
    monkeypatch.setattr(module, "autoscaler", lambda: None)
    with session(places=PLACES, progress=notes):
        pass
    told = [line for line in lines if "local paths" in line]
    assert len(told) == said
    assert not said or told[0].endswith("all of them share: --to /data/scores")


def test_an_interrupt_is_raised_while_a_thread_works() -> None:
    before = signal.getsignal(signal.SIGINT)

    def work() -> None:
        time.sleep(0.1)
        signal.raise_signal(signal.SIGINT)
        time.sleep(5)

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        in_a_thread(work)
    assert time.monotonic() - began < 4
    assert signal.getsignal(signal.SIGINT) is before


def test_what_a_thread_returns_and_raises() -> None:
    assert in_a_thread(lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        in_a_thread(lambda: 1 // 0)


def test_the_handler_of_sigterm_stays(no_ray: Any) -> None:
    no_ray(lambda **options: signal.signal(signal.SIGTERM, lambda *_: None), "local")
    before = signal.getsignal(signal.SIGTERM)
    with session():
        assert signal.getsignal(signal.SIGTERM) is before


def test_a_sigterm_while_ray_starts_is_ours(no_ray: Any) -> None:
    def init(**options: Any) -> None:
        raise SystemExit(signal.SIGTERM)  # as Ray's own handler does

    class Ours(Exception):
        pass

    def handler(*_: object) -> None:
        raise Ours

    left = no_ray(init, "local")
    before = signal.signal(signal.SIGTERM, handler)
    try:
        with pytest.raises(Ours), session():
            pass
    finally:
        signal.signal(signal.SIGTERM, before)
    assert left == ["shutdown"]


def test_the_watcher_of_drained_nodes_is_off_in_an_own_cluster_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(module._WATCHER, raising=False)
    with module._of_own_cluster():
        assert os.environ[module._WATCHER] == "0"
    assert module._WATCHER not in os.environ


def test_a_watcher_that_the_user_wants_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(module._WATCHER, "1")
    with module._of_own_cluster():
        assert os.environ[module._WATCHER] == "1"
    assert os.environ[module._WATCHER] == "1"
