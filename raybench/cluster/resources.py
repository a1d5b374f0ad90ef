"""How many workers a training gets, decided and refused before anything waits for them."""

from __future__ import annotations

import os
from dataclasses import dataclass

from raybench.config import ClusterConfig, Config
from raybench.config.tune import ResourcesPerTrial
from raybench.errors import ResourceError

NO_GPU = "cluster.use_gpu is true but the cluster has no GPU; set cluster.use_gpu to auto or false"
GPU_BYTES = 16 * 2**30  # of a card whose memory cannot be asked for
TRIAL_GPU_BYTES = 2 * 2**30  # CUDA's context, kernels, and activations of a batch; to be measured on a card


@dataclass(frozen=True, slots=True, kw_only=True)
class Workers:
    """What a training takes: ``number`` processes with ``cpus`` threads each, one GPU each if ``gpu``."""

    number: int
    cpus: int
    gpu: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """What the cluster has: logical CPUs and GPUs in all, CPUs of its largest node, real cores of this one.

    ``largest_gpu``: GPUs of the node with most; ``gpu_bytes``: memory of one of this process, 0 where it has none.
    """

    cpus: float
    gpus: float
    largest_node: float
    cores: int
    largest_gpu: float = 0.0
    gpu_bytes: int = 0


def this_machine(*, gpus: int) -> Capacity:
    """What a cluster that the session starts here would have: a logical CPU more than there are cores."""
    cores = os.cpu_count() or 1
    logical = float(cores + 1)
    return Capacity(cpus=logical, gpus=float(gpus), largest_node=logical, cores=cores, largest_gpu=float(gpus))


def plan_workers(wanted: ClusterConfig, there: Capacity, *, streaming: bool) -> Workers:
    """Return the workers of a training, or raise ResourceError with the key to change.

    Streaming training needs one CPU beside the workers: Ray Data starves without a word if they take all.
    """
    if wanted.use_gpu is True and there.gpus < 1:
        raise ResourceError(NO_GPU)
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


def plan_trials(config: Config, there: Capacity, *, panel_bytes: int) -> tuple[Workers, int, float]:
    """Return what each trial of a search takes, how many run side by side, and the share of a GPU of each.

    Trials of one worker are one-thread processes unless told; ResourceError for more than any node has.
    """
    wanted = suited(config)
    if (wanted.num_workers or 1) > 1:
        return _plan_wide(config, wanted, there)
    asked = config.tune.resources_per_trial
    if asked.cpu > there.largest_node:
        raise ResourceError(
            f"tune.resources_per_trial.cpu is {asked.cpu}, and the largest node has {there.largest_node:g} CPUs; "
            "lower it"
        )
    gpu = share_of_gpu(config, wanted, there, panel_bytes)
    most = max(cores(there) // asked.cpu, 1)
    if gpu:
        most = min(most, max(int(there.gpus) * int(1 / gpu), 1) if gpu <= 1 else max(int(there.gpus / gpu), 1))
    concurrent = min(config.tune.max_concurrent or most, max(int(there.cpus) // asked.cpu, 1))
    return Workers(number=1, cpus=asked.cpu, gpu=gpu > 0), concurrent, gpu


def _plan_wide(config: Config, wanted: ClusterConfig, there: Capacity) -> tuple[Workers, int, float]:
    """Trials of several workers, each of which is Ray Train's."""
    if config.tune.resources_per_trial != ResourcesPerTrial():
        raise ResourceError(
            f"tune.resources_per_trial is for trials of one worker, and cluster.num_workers is {wanted.num_workers}; "
            "set cluster.cpus_per_worker instead, or cluster.num_workers to 1"
        )
    workers = plan_workers(wanted, there, streaming=False)
    most = int(there.gpus // workers.number) if workers.gpu else int(cores(there) // (workers.number * workers.cpus))
    return workers, min(config.tune.max_concurrent or max(most, 1), max(most, 1)), 0.0


def share_of_gpu(config: Config, wanted: ClusterConfig, there: Capacity, panel_bytes: int) -> float:
    """The GPU of a trial or a fit: as told, or a share with room for the panel, what autograd keeps and CUDA's own."""
    asked = config.tune.resources_per_trial.gpu
    if asked:
        if asked > there.largest_gpu:
            raise ResourceError(
                f"tune.resources_per_trial.gpu is {asked:g}, and no node has more than {there.largest_gpu:g} GPUs; "
                "lower it"
            )
        return asked
    if asked == 0 or wanted.use_gpu is False or there.gpus < 1:
        if wanted.use_gpu is True and there.gpus < 1:
            raise ResourceError(NO_GPU)
        return 0.0
    room = there.gpu_bytes or GPU_BYTES
    side_by_side = int(room // (panel_bytes + TRIAL_GPU_BYTES))
    per_gpu = max(min(side_by_side, cores(there) // max(int(there.gpus), 1)), 1)
    return 1.0 / per_gpu


def cores(there: Capacity) -> int:
    """Real cores: the spare logical CPU of a local session is none."""
    one_node = round(there.cpus / there.largest_node) <= 1
    return max(int(min(there.largest_node, there.cores) if one_node else there.cpus), 1)


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
