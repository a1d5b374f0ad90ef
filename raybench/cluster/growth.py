"""What the autoscaler of a cluster may make of it, at most: nodes by kind, by whose sum plans are judged.

Open-source Ray keeps that to its autoscaler, which reads it out of a file or of the Kubernetes API; a program on the
cluster is told only where somebody has reported it to Ray. So whoever runs the command can say it.
"""

from __future__ import annotations

import os
import re
from typing import Any

from raybench.cluster.resources import UNBOUNDED, Node
from raybench.errors import ResourceError

VARIABLE = "RAYBENCH_AUTOSCALE_TO"
_KIND = re.compile(r"(\d{1,6})x(\d{1,6})(?:x(\d{1,3}))?")


def said_by_user() -> tuple[Node, ...]:
    """The nodes that the environment names, as ``COUNTxCPUS`` or ``COUNTxCPUSxGPUS`` with commas between; or none.

    ResourceError if it says something else.
    """
    given = os.environ.get(VARIABLE, "").strip()
    return tuple(_node(each.strip(), given) for each in given.split(",")) if given else ()


def _node(text: str, given: str) -> Node:
    found = _KIND.fullmatch(text)
    count, cpus, gpus = (int(each or 0) for each in found.groups()) if found else (0, 0, 0)
    if not count or not cpus:
        raise ResourceError(
            f"{VARIABLE} is {given!r}; want nodes as COUNTxCPUS or COUNTxCPUSxGPUS, such as 8x16 or 2x64x8,4x32, "
            "as many as the autoscaler may have at most; or unset it"
        )
    return Node(cpus=cpus, gpus=gpus, count=count)


def said_by_ray() -> tuple[Node, ...]:
    """The nodes that Ray says, or none; no public call of Ray 2.60 says it."""
    from ray._private.state import state

    return of_ray(state.get_cluster_config())


def of_ray(config: Any) -> tuple[Node, ...]:
    """The nodes of what an autoscaler says of itself (a ``ClusterConfig`` of Ray, None without one)."""
    return tuple(
        Node(
            cpus=float(group.resources.get("CPU", 0)),
            gpus=float(group.resources.get("GPU", 0)),
            count=UNBOUNDED if group.max_count < 0 else int(group.max_count),
        )
        for group in (() if config is None else config.node_group_configs)
    )
