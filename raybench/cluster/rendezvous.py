"""How the workers of a training find each other: on loopback where all of them are on one node.

torch keeps addresses of a group in a store that the first worker serves, on every interface of its machine and to
whoever asks, where Ray Train has it made; and gloo listens at the address that the machine's name has. Workers on one
node need neither: the store is given a socket on loopback here, and the libraries are told the device. Workers on
several nodes meet as Ray Train has them meet.

Ray Train's controller loads this; the functions run in its workers.
"""

from __future__ import annotations

import os
import socket
from datetime import timedelta
from typing import Any

import ray
import torch.distributed as dist
from ray.train.torch import TorchConfig
from ray.train.torch.config import _set_torch_distributed_env_vars, _TorchBackend
from torch.distributed import TCPStore  # type: ignore[attr-defined]  # it is documented there

from raybench.cluster.starting import LOOPBACK

_DEVICE_OF = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")
_served: list[Any] = []  # of this process, for as long as it lives


class OneNodeConfig(TorchConfig):
    """Ray Train's own, but for workers that are on one node."""

    @property
    def backend_cls(self) -> type[OneNodeBackend]:
        """What makes the group."""
        return OneNodeBackend


class OneNodeBackend(_TorchBackend):
    """Makes the group of a training's workers, each time they are started."""

    def on_start(self, worker_group: Any, backend_config: Any) -> None:
        """Have the workers meet."""
        if len(set(worker_group.execute(_node))) > 1:
            super().on_start(worker_group, backend_config)
            return
        port = worker_group.execute_single(0, _serve, backend_config.timeout_s)
        worker_group.execute(_set_torch_distributed_env_vars)
        size = len(worker_group)
        ray.get(
            [
                # By position: names of ours may be Ray's own.
                worker_group.execute_single_async(
                    rank, _join, port, rank, size, backend_config.backend, backend_config.timeout_s
                )
                for rank in range(size)
            ]
        )


def _node() -> str:
    return str(ray.get_runtime_context().get_node_id())


def _serve(timeout_s: int) -> int:
    """Serve a store on loopback; its port."""
    listener = socket.create_server((LOOPBACK, 0), backlog=socket.SOMAXCONN)
    port = int(listener.getsockname()[1])
    _served[:] = [
        TCPStore(
            LOOPBACK,
            port,
            is_master=True,
            wait_for_workers=False,
            timeout=timedelta(seconds=timeout_s),
            master_listen_fd=listener.detach(),  # the store's from here on
        )
    ]
    return port


def _join(port: int, rank: int, size: int, backend: str, timeout_s: int) -> None:
    """Become one of ``size`` processes whose store is at ``port``."""
    timeout = timedelta(seconds=timeout_s)
    for name in _DEVICE_OF:
        os.environ.setdefault(name, _loopback_device())
    if "TORCH_NCCL_BLOCKING_WAIT" not in os.environ:  # as Ray Train has it: a collective that hangs ends its process
        os.environ.setdefault("TORCH_NCCL_ASYNC_ERROR_HANDLING", "1")
    store = _served[0] if rank == 0 else TCPStore(LOOPBACK, port, wait_for_workers=False, timeout=timeout)
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=timeout)


def _loopback_device() -> str:
    """``lo`` on Linux, ``lo0`` on macOS."""
    return next(name for _, name in socket.if_nameindex() if name.startswith("lo"))
