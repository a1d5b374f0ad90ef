"""Who can reach the Ray that a command starts for itself: nobody from outside, and from here only with its token."""

from __future__ import annotations

import ipaddress
import socket
from pathlib import Path

import grpc
import pytest
import ray

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
    open_to_all = {address: names for address, names in found.items() if not ipaddress.ip_address(address).is_loopback}
    assert not open_to_all


def test_there_is_no_dashboard_unless_asked_for(local_ray: None) -> None:
    assert not ray._private.worker._global_node.webui_url  # type: ignore[attr-defined]


def test_nobody_gets_an_answer_without_the_token(local_ray: None) -> None:
    address = ray.get_runtime_context().gcs_address
    channel = grpc.insecure_channel(address, [("grpc.enable_http_proxy", 0)])
    with channel, pytest.raises(grpc.RpcError) as refused:
        channel.unary_unary("/ray.rpc.NodeInfoGcsService/GetAllNodeInfo")(b"", timeout=10)
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
