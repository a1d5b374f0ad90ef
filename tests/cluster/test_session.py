"""Joining Ray for as long as a command runs; Ray itself is not started here."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray

from raybench.cluster import ran_on
from raybench.cluster import session as module
from raybench.cluster.growth import VARIABLE
from raybench.cluster.resources import Node
from raybench.cluster.session import in_a_thread, session
from raybench.errors import ResourceError
from tests.notes import Notes


@pytest.fixture
def no_ray(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., Any], str], list[str]]:
    """Put a function in place of ray.init; what is returned fills with ``shutdown`` when Ray is left."""
    left: list[str] = []

    def become(init: Callable[..., Any], address: str) -> list[str]:
        monkeypatch.setattr(ray, "is_initialized", lambda: False)
        monkeypatch.setattr(ray, "init", init)
        monkeypatch.setattr(ray, "shutdown", lambda: left.append("shutdown"))
        monkeypatch.setattr(module, "cluster_address", lambda progress: address)
        monkeypatch.setattr(module, "watched", lambda address: nullcontext())
        monkeypatch.setattr(module, "until_it_answers", lambda address: None)
        monkeypatch.setattr(ray, "get_runtime_context", lambda: SimpleNamespace(get_node_id=lambda: "here"))
        monkeypatch.setattr(ray, "available_resources", lambda: {"CPU": 1.0})
        return left

    return become


def node(**resources: float) -> dict[str, Any]:
    return {"Alive": True, "NodeID": "elsewhere", "Resources": resources}


def test_a_cluster_without_cpus_is_refused_at_once(no_ray: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    left = no_ray(lambda **options: None, "10.0.0.1:6379")
    dead = {"Alive": False, "Resources": {"CPU": 8.0}}
    monkeypatch.setattr(ray, "nodes", lambda: [node(GPU=2.0), node(memory=1.0), dead])
    monkeypatch.setattr(ray, "cluster_resources", dict)
    monkeypatch.setattr(module, "said_by_ray", tuple)
    told = r"10\.0\.0\.1:6379 has no CPU \(1 node of 0 CPUs and 2 GPUs, 1 node of 0 CPUs\), and .* wants 1 at least"
    with pytest.raises(ResourceError, match=told), session():
        pass
    assert left == ["shutdown"]


@pytest.mark.parametrize(("free", "growth", "told"), [(0.0, (), 1), (1.0, (), 0), (0.0, (Node(cpus=8, count=3),), 0)])
def test_it_is_said_that_others_hold_all_of_a_cluster(
    no_ray: Any, monkeypatch: pytest.MonkeyPatch, free: float, growth: tuple[Node, ...], told: int
) -> None:
    notes = Notes()
    no_ray(lambda **options: None, "10.0.0.1:6379")
    monkeypatch.setattr(ray, "nodes", lambda: [node(CPU=2.0)])
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 2.0})
    monkeypatch.setattr(ray, "available_resources", lambda: {"CPU": free})
    monkeypatch.setattr(module, "said_by_ray", lambda: growth)
    with session(progress=notes):
        pass
    busy = [line for line in notes.lines if "0 of the 2 CPUs of the cluster are free" in line]
    assert len(busy) == told


@pytest.mark.parametrize("said_by", ["ray", "user"])
def test_a_cluster_that_grows_from_nothing_is_joined_and_waited_for(
    no_ray: Any, monkeypatch: pytest.MonkeyPatch, said_by: str
) -> None:
    no_ray(lambda **options: None, "10.0.0.1:6379")
    grown = (Node(cpus=8, gpus=2, count=3),)
    monkeypatch.setenv(VARIABLE, "3x8x2" if said_by == "user" else "")
    monkeypatch.setattr(ray, "nodes", lambda: [node(memory=1.0)])
    monkeypatch.setattr(ray, "cluster_resources", dict)
    monkeypatch.setattr(module, "said_by_ray", lambda: () if said_by == "user" else grown)
    monkeypatch.setenv(module._WAIT_FOR_NODES, "")
    monkeypatch.delenv(module._WAIT_FOR_NODES)
    with session():
        there = module.capacity()
        assert os.environ[module._WAIT_FOR_NODES] == "900"
    assert (there.cpus, there.gpus, there.told()) == (24, 6, "at most 3 nodes of 8 CPUs and 2 GPUs")


def test_a_cluster_of_one_s_own_does_not_grow(no_ray: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    no_ray(lambda **options: None, "local")
    monkeypatch.setenv(VARIABLE, "3x8x2")
    monkeypatch.setattr(ray, "nodes", lambda: [node(CPU=2.0)])
    monkeypatch.setattr(ray, "cluster_resources", dict)
    monkeypatch.setattr(module, "said_by_ray", tuple)
    with session():
        assert module.capacity().told() == "1 node of 2 CPUs"


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
    monkeypatch.setattr(module, "said_by_ray", tuple)
    notes: Any = SimpleNamespace(note=lines.append)
    with ran_on.heard() as places, session(progress=notes):
        pass
    assert said in lines
    assert places == [ran_on.OWN if address == "local" else "the Ray cluster at 10.0.0.1:6379"]


PLACES = {"--to": "/data/scores", "--bars": "s3://bucket/bars", "data.features": None}


def nodes_of(hosts: str, driver: str) -> list[dict[str, Any]]:
    """Nodes of 2 CPUs on machines of these names, a head without CPUs on machine H, and the driver on one of them."""
    nodes = [{**node(CPU=2.0), "NodeManagerAddress": host} for host in hosts]
    nodes += [{**node(CPU=0.0), "NodeManagerAddress": "H"}]
    next(each for each in nodes if each["NodeManagerAddress"] == driver)["NodeID"] = "here"
    return nodes


@pytest.mark.parametrize(
    ("hosts", "driver", "said"),
    [("AB", "A", 2), ("AA", "A", 0), ("A", "A", 0), ("A", "H", 2), ("AB", "H", 3)],
)
@pytest.mark.parametrize("inside", [False, True])
def test_local_paths_are_named_where_machines_have_to_share_them(
    no_ray: Any, monkeypatch: pytest.MonkeyPatch, hosts: str, driver: str, said: int, inside: bool
) -> None:
    """Those of nodes that can work, and the driver's; also where somebody's own ray.init had joined the cluster."""
    lines: list[str] = []
    notes: Any = SimpleNamespace(note=lines.append)
    no_ray(lambda **options: None, "10.0.0.1:6379")
    if inside:
        context = SimpleNamespace(get_node_id=lambda: "here", gcs_address="10.0.0.1:6379")
        monkeypatch.setattr(ray, "is_initialized", lambda: True)
        monkeypatch.setattr(ray, "get_runtime_context", lambda: context)
    monkeypatch.setattr(ray, "nodes", lambda: nodes_of(hosts, driver))
    monkeypatch.setattr(ray, "cluster_resources", dict)
    monkeypatch.setattr(module, "said_by_ray", tuple)
    with session(places=PLACES, progress=notes):
        pass
    told = [line for line in lines if "local paths" in line]
    assert [line.partition(" machines")[0] for line in told] == [f"the cluster has {said}"] * (said > 0)
    assert not said or told[0].endswith("all of them share: --to /data/scores")


class Opened(Exception):
    """A session was asked for."""


def test_every_session_of_a_job_names_what_its_nodes_read(
    run: str, market_bars: str, make_config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What each passes on: of explain, adopt and demo, whose results the driver writes; of score, a folder more."""
    asked: list[dict[str, str | None]] = []

    def open_session(*, places: dict[str, str | None] | None = None, **_: Any) -> Any:
        asked.append(places or {})
        raise Opened

    monkeypatch.setattr(module, "session", open_session)
    monkeypatch.setattr("raybench.cluster.jobs.demo.session", open_session)
    from raybench.cluster.jobs import adoption, demo, explaining, scoring

    out, weights = str(tmp_path / "out"), f"{run}/model.safetensors"
    calls: list[Callable[[], Any]] = [
        lambda: explaining.explain(run, bars=market_bars, date="2015-12-30", out=out, local=False),
        lambda: adoption.adopt(make_config(), weights=weights, out=out, local=False),
        lambda: demo.run_demo(str(tmp_path / "demo"), instruments=30, years=1.0),
        lambda: scoring.score(run, bars=market_bars, to=out, local=False),
    ]
    for call in calls:
        with pytest.raises(Opened):
            call()
    bars = os.path.realpath(market_bars)
    assert asked == [
        {"--bars": market_bars},
        {"data.bars": bars},
        {"--out": str(tmp_path / "demo")},
        {"--model": run, "--to": out, "--bars": market_bars},
    ]


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
