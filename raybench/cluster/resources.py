"""How many workers a training gets, decided and refused before anything waits for them."""

from __future__ import annotations

import os
from dataclasses import dataclass

from raybench.config import ClusterConfig, Config
from raybench.errors import ResourceError


@dataclass(frozen=True, slots=True, kw_only=True)
class Workers:
    """What a training takes: ``number`` processes with ``cpus`` threads each, one GPU each if ``gpu``."""

    number: int
    cpus: int
    gpu: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """What the cluster has: logical CPUs and GPUs in all, CPUs of its largest node, real cores of this one."""

    cpus: float
    gpus: float
    largest_node: float
    cores: int


def this_machine(*, gpus: int) -> Capacity:
    """What a cluster that the session starts here would have: a logical CPU more than there are cores."""
    cores = os.cpu_count() or 1
    logical = float(cores + 1)
    return Capacity(cpus=logical, gpus=float(gpus), largest_node=logical, cores=cores)


def plan_workers(wanted: ClusterConfig, there: Capacity, *, streaming: bool) -> Workers:
    """Return the workers of a training, or raise ResourceError with the key to change.

    Streaming training needs one CPU beside the workers: Ray Data starves without a word if they take all.
    """
    if wanted.use_gpu is True and there.gpus < 1:
        raise ResourceError("cluster.use_gpu is true but the cluster has no GPU; set cluster.use_gpu to auto or false")
    gpu = there.gpus >= 1 if wanted.use_gpu == "auto" else bool(wanted.use_gpu)
    number = wanted.num_workers or (int(there.gpus) if gpu else 1)
    cpus = wanted.cpus_per_worker or _share_of_cores(number, there, streaming=streaming)
    if gpu and number > there.gpus:
        raise ResourceError(
            f"cluster.num_workers is {number} but the cluster has {there.gpus:g} GPUs; "
            "lower cluster.num_workers or set cluster.use_gpu to false"
        )
    if cpus > there.largest_node:
        raise ResourceError(
            f"cluster.cpus_per_worker is {cpus} but the largest node has {there.largest_node:g} CPUs; "
            "lower cluster.cpus_per_worker"
        )
    spare = 1 if streaming else 0
    if number * cpus + spare > there.cpus:
        extra = " and one CPU for Ray Data (data.residency is streaming)" if streaming else ""
        raise ResourceError(
            f"the training wants {number} workers of {cpus} CPU{extra}, the cluster has {there.cpus:g} CPUs; "
            "lower cluster.num_workers or cluster.cpus_per_worker"
        )
    return Workers(number=number, cpus=cpus, gpu=gpu)


def suited(config: Config) -> ClusterConfig:
    """Return the workers that a configuration asks for: one, without a GPU unless told, where only one can fit."""
    wanted = config.cluster
    if not config.model.one_process:
        return wanted
    gpu = False if wanted.use_gpu == "auto" else wanted.use_gpu
    return wanted.model_copy(update={"num_workers": 1, "use_gpu": gpu})


def check_dates(config: Config, workers: Workers) -> None:
    """Refuse more workers than there are dates in a batch: some would never have anything to do."""
    if workers.number > config.train.dates_per_batch:
        raise ResourceError(
            f"model.type {config.model.type} takes whole dates, and {workers.number} workers would share batches of "
            f"train.dates_per_batch = {config.train.dates_per_batch}; raise train.dates_per_batch to at least "
            f"{workers.number} or set cluster.num_workers to {config.train.dates_per_batch}"
        )


def _share_of_cores(number: int, there: Capacity, *, streaming: bool) -> int:
    """Share the cores of a node among its workers; the spare logical CPU of a local session is no core."""
    nodes = max(round(there.cpus / there.largest_node), 1)
    cores = min(int(there.largest_node), there.cores) if nodes == 1 else int(there.largest_node)
    if streaming and cores == there.largest_node:
        cores -= 1
    return max(cores // -(-number // nodes), 1)
