"""Whether what a command reads and writes lies where all nodes of the cluster can reach it, said before it begins.

A local path is the same folder on several machines only if they share a disk. Nothing else here assumes one.
"""

from __future__ import annotations

from collections.abc import Mapping

import ray

from raybench.progress import Progress
from raybench.storage import files


def note_local(places: Mapping[str, str | None], progress: Progress) -> None:
    """Say which of ``places``, by key or option, are local paths, where several machines have to share them."""
    local = [f"{name} {uri}" for name, uri in places.items() if uri is not None and files.open_location(uri).local]
    number = _machines() if local else 0
    if number > 1:
        progress.note(
            f"the cluster has {number} machines, and local paths have to be on a disk that all of them share: "
            f"{', '.join(local)}"
        )


def _machines() -> int:
    """How many machines have nodes that can work, and this process, which may be on one that cannot.

    Nodes of one address share its disk.
    """
    here = ray.get_runtime_context().get_node_id()
    at_work = [
        node
        for node in ray.nodes()
        if node["Alive"] and (node["Resources"].get("CPU", 0) >= 1 or node["NodeID"] == here)
    ]
    return len({node["NodeManagerAddress"] for node in at_work})
