"""Whether a command runs on Ray or in its own process, found out without loading Ray."""

from __future__ import annotations

import os
import sys
from pathlib import Path

ADDRESS_FILE = Path("ray") / "ray_current_cluster"  # where `ray start` leaves its address, below a temporary folder


def asked_for() -> bool:
    """Say whether Ray is wanted anyhow: RAY_ADDRESS is set, or this process has joined a cluster."""
    ray = sys.modules.get("ray")
    return bool(os.environ.get("RAY_ADDRESS", "").strip()) or (ray is not None and bool(ray.is_initialized()))


def here(local: bool | None, *, little: bool) -> bool:
    """Say whether this process does it: as ``local`` says, else where there is little to do and no cluster at hand."""
    if local is not None:
        return local
    return little and not asked_for() and not runs_here()


def runs_here() -> bool:
    """Say whether a cluster that was started on this machine answers."""
    folders = {os.environ.get("RAY_TMPDIR"), os.environ.get("TMPDIR"), "/tmp"} - {None, ""}
    if not any((Path(str(folder)) / ADDRESS_FILE).exists() for folder in folders):
        return False
    from raybench.cluster.address import LOCAL, cluster_address

    return cluster_address() != LOCAL
