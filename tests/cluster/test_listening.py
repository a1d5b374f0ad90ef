"""Who can reach the Ray that a command starts for itself: nobody from outside, and from here only with its token."""

from __future__ import annotations

import ipaddress
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
import ray

from raybench.cluster.jobs.training import train
from raybench.config import Config
from raybench.progress import Advance
from tests.cluster.processes import below_us

pytestmark = pytest.mark.ray
LISTENS = "0A"  # the state in /proc/net/tcp


def listeners() -> dict[str, set[str]]:
    """Addresses at which this process and those below it listen, with the names of their processes."""
    of_inode: dict[str, str] = {}
    for pid in below_us():
        for handle in Path(f"/proc/{pid}/fd").glob("*"):
            try:
                target = handle.readlink().name
            except OSError:  # closed, or the process has ended
                continue
            if target.startswith("socket:["):
                of_inode[target[8:-1]] = Path(f"/proc/{pid}/comm").read_text().strip()
    found: dict[str, set[str]] = {}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            (
                _,
                local,
                _,
                state,
                *_,
            ) = line.split()
            inode = line.split()[9]
            if state == LISTENS and inode in of_inode:
                found.setdefault(_address(local.partition(":")[0]), set()).add(of_inode[inode])
    return found


def _address(text: str) -> str:
    words = [bytes.fromhex(text[at : at + 8])[::-1] for at in range(0, len(text), 8)]
    found = ipaddress.ip_address(b"".join(words))
    return str(getattr(found, "ipv4_mapped", None) or found)


def test_the_test_sees_who_listens_everywhere() -> None:
    with socket.create_server(("0.0.0.0", 0)), socket.create_server(("127.0.0.1", 0)):
        assert {"0.0.0.0", "127.0.0.1"} <= listeners().keys()


def test_a_cluster_of_one_s_own_listens_on_loopback_alone(local_ray: None) -> None:
    ray.get(ray.remote(num_cpus=1)(lambda: None).remote())  # a worker of it, too
    found = listeners()
    assert len(set().union(*found.values())) > 2, "Ray's processes were seen"
    assert not open_to_others(found)


def test_there_is_no_dashboard_unless_asked_for(local_ray: None) -> None:
    assert not ray._private.worker._global_node.webui_url  # type: ignore[attr-defined]


def test_nobody_gets_an_answer_without_the_token(local_ray: None) -> None:
    address = ray.get_runtime_context().gcs_address
    channel = grpc.insecure_channel(address, [("grpc.enable_http_proxy", 0)])
    with channel, pytest.raises(grpc.RpcError) as refused:
        channel.unary_unary("/ray.rpc.NodeInfoGcsService/GetAllNodeInfo")(b"", timeout=10)
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


class Watching:
    """Progress that looks at who listens each time that training workers tell something."""

    def __init__(self) -> None:
        self.found: dict[str, set[str]] = {}

    @contextmanager
    def track(self, name: str, total: int | None, *, at_most: bool = False) -> Iterator[Advance]:
        def advance(n: int = 1, text: str = "") -> None:
            for address, names in listeners().items():
                self.found.setdefault(address, set()).update(names)

        yield advance

    def note(self, text: str) -> None:
        pass


def open_to_others(found: dict[str, set[str]]) -> dict[str, set[str]]:
    return {address: names for address, names in found.items() if not ipaddress.ip_address(address).is_loopback}


def test_workers_that_train_together_meet_on_loopback_alone(
    local_ray: None, make_config: Callable[..., Config], tmp_path: Path
) -> None:
    watching = Watching()
    config = make_config(cluster__num_workers=2, train__max_epochs=3)
    train(config, out=str(tmp_path / "run"), progress=watching)
    assert "ray::RayTrainWo" in set().union(*watching.found.values()), "the workers were seen"
    assert open_to_others(watching.found) == {}


DASHBOARD = """
import ray
from raybench.cluster.session import session
from tests.cluster.test_listening import listeners, open_to_others
with session(num_cpus=2, dashboard=True):
    assert ray._private.worker._global_node.webui_url.startswith("127.0.0.1:")
    found = listeners()
    assert len(set().union(*found.values())) > 2, found
    print(open_to_others(found))
"""


def test_a_dashboard_that_is_asked_for_listens_on_loopback() -> None:
    environment = {**os.environ, "RAY_ADDRESS": "local"}
    line = [sys.executable, "-c", DASHBOARD]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "{}\n"), done.stderr
