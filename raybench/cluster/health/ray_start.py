"""Ray: whether a cluster answers that a command would join, or whether one starts here; and whether tasks run on it."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raybench.cluster.address import LOCAL, cluster_address
from raybench.cluster.health.outcome import Outcome, well, wrong
from raybench.cluster.starting import default_folder
from raybench.reports.text import numbered

NUMBERS = 2_000_000  # float64 of an array that goes through the object store: 16 MB


def ray_works() -> Outcome:
    """Join the cluster that a command would join, or start one as it would; run a task that reads an array there."""
    began = time.monotonic()
    joined = cluster_address()
    with _room() if joined == LOCAL else contextlib.nullcontext():
        from raybench.cluster.session import cluster_cpus, cluster_gpus, session

        with session():
            import ray

            ready = time.monotonic() - began
            nodes = sum(bool(node["Alive"]) for node in ray.nodes())
            cpus, gpus = cluster_cpus(), cluster_gpus()
            sum_, answered = _asked()
    where = f"joins the cluster at {joined}" if joined != LOCAL else "starts here"
    figures = {"address": joined, "nodes": nodes, "cpus": cpus, "gpus": gpus, "ready_seconds": round(ready, 2)}
    if sum_ != NUMBERS:
        return wrong("ray", f"{where}, but a task read {sum_:g} of {NUMBERS} numbers", "look at Ray's logs", **figures)
    return well(
        "ray",
        f"{where} in {ready:.1f} s: {numbered(nodes, 'node|nodes')}, {cpus:g} CPUs, {gpus:g} GPUs; a task answers in "
        f"{answered:.1f} s",
        **figures,
        task_seconds=round(answered, 2),
    )


def _asked() -> tuple[float, float]:
    """What a task made of an array of ones in the object store, and after how many seconds."""
    import ray

    began = time.monotonic()
    task: Any = ray.remote(num_cpus=1)(_sum)
    return float(ray.get(task.remote(ray.put(np.ones(NUMBERS))))), time.monotonic() - began


def _sum(array: NDArray[np.float64]) -> float:
    return float(array.sum())


@contextlib.contextmanager
def _room() -> Iterator[None]:
    """Have a Ray of our own keep its files in a folder that goes with it, and its token in memory."""
    beside = os.path.dirname(default_folder())
    room = tempfile.mkdtemp(prefix="rd-", dir=beside if os.access(beside, os.W_OK) else "/tmp")
    os.environ["RAY_TMPDIR"] = os.environ["TMPDIR"] = tempfile.tempdir = room
    if not (Path.home() / ".ray" / "auth_token").exists():
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    try:
        yield
    finally:
        shutil.rmtree(room, ignore_errors=True)
