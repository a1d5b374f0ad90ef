"""How many workers a training gets, decided and refused before anything waits for them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raybench.config import ClusterConfig, Config
from raybench.config.tune import HyperBand, Pbt, ResourcesPerTrial
from raybench.errors import ResourceError
from raybench.reports.text import numbered

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
class Node:
    """What a node has: logical CPUs and GPUs. ``count``: how many such nodes there are, or could be."""

    cpus: float
    gpus: float = 0.0
    count: int = 1

    def holds(self, cpus: int, *, gpu: bool) -> int:
        """How many workers of ``cpus`` CPUs, and one GPU if ``gpu``, fit on it."""
        room = int(self.cpus) // cpus
        return min(room, int(self.gpus)) if gpu else room

    def shares(self, cpus: float, gpu: float) -> int:
        """How many trainings of ``cpus`` CPUs and ``gpu`` of a GPU, or so many whole ones, fit on it."""
        room = int(self.cpus / cpus + 1e-9)
        if not gpu:
            return room
        return min(room, int(self.gpus) * int(1 / gpu + 1e-9) if gpu <= 1 else int(self.gpus // gpu))


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """What the cluster has: its ``nodes``, and real ``cores`` of this machine.

    ``could_be``: the nodes of a cluster that grows, at its largest; empty for one that does not. What is asked of the
    cluster is judged by those. ``gpu_bytes``: memory of a GPU of this process, 0 where it has none.
    """

    nodes: tuple[Node, ...]
    cores: int
    could_be: tuple[Node, ...] = ()
    gpu_bytes: int = 0

    @property
    def at_hand(self) -> tuple[Node, ...]:
        """The nodes that are there, or where none of them has a CPU yet, those that there could be."""
        return self.nodes if any(node.cpus >= 1 for node in self.nodes) else self.could_be or self.nodes

    @property
    def cpus(self) -> float:
        """Logical CPUs in all."""
        return sum(node.cpus * node.count for node in self.at_hand)

    @property
    def gpus(self) -> float:
        """GPUs in all."""
        return sum(node.gpus * node.count for node in self.at_hand)

    @property
    def largest_node(self) -> float:
        """CPUs of the node with most, at its largest."""
        return max((node.cpus for node in self.could_be or self.nodes), default=0.0)

    @property
    def largest_gpu(self) -> float:
        """GPUs of the node with most, at its largest."""
        return max((node.gpus for node in self.could_be or self.nodes), default=0.0)

    @property
    def one_machine(self) -> bool:
        """Whether all of it is one node, which is this machine then: its spare logical CPU is no core."""
        return len(self.nodes) == 1 and self.nodes[0].count == 1 and not self.could_be

    def holds(self, cpus: int, *, gpu: bool) -> int:
        """How many workers of so much fit on its nodes, at its largest."""
        return sum(node.holds(cpus, gpu=gpu) * node.count for node in self.could_be or self.nodes)

    def holds_now(self, cpus: int, *, gpu: bool) -> int:
        """How many fit on the nodes that are there, or where there are none yet, that there could be; 1 at least."""
        return max(sum(node.holds(cpus, gpu=gpu) * node.count for node in self.at_hand), 1)

    @property
    def rooms(self) -> tuple[Node, ...]:
        """The nodes that a single training may ask for, at their largest; a spare logical CPU is for none."""
        if self.one_machine:
            (node,) = self.nodes
            return (Node(cpus=min(node.cpus, self.cores), gpus=node.gpus),)
        return self.could_be or self.nodes

    def side_by_side(self, cpus: float, gpu: float) -> int:
        """How many trainings of so much fit on the nodes that are there; 1 at least."""
        nodes = self.rooms if self.one_machine else self.at_hand
        return max(sum(node.shares(cpus, gpu) * node.count for node in nodes), 1)

    def told(self) -> str:
        """What there is, for people: node by node, equal ones counted."""
        kinds: dict[tuple[float, float], int] = {}
        for node in self.could_be or self.nodes:
            kinds[node.cpus, node.gpus] = kinds.get((node.cpus, node.gpus), 0) + node.count
        texts = [
            f"{numbered(count, 'node|nodes')} of {numbered(int(cpus), 'CPU|CPUs')}"
            + (f" and {numbered(int(gpus), 'GPU|GPUs')}" if gpus else "")
            for (cpus, gpus), count in sorted(kinds.items(), reverse=True)
        ]
        return ("at most " if self.could_be else "") + (", ".join(texts) or "no node")


UNBOUNDED = 1000  # nodes that a group without a largest size is counted as


def could_be(nodes: tuple[Node, ...], there: tuple[Node, ...]) -> tuple[Node, ...]:
    """Those of ``nodes``, which a cluster may have at its largest, that can work; none where that is what is there."""
    grown, now = (
        (sum(node.cpus * node.count for node in each), sum(node.gpus * node.count for node in each))
        for each in (nodes, there)
    )
    larger = grown[0] > now[0] or grown[1] > now[1]
    return tuple(node for node in nodes if node.count and (node.cpus or node.gpus)) if larger else ()


def capacity_of(nodes: Sequence[Mapping[str, Any]], growth: tuple[Node, ...]) -> Capacity:
    """The capacity of a cluster from what Ray says of its ``nodes``, and those it may have at most (``growth``)."""
    there = tuple(
        Node(cpus=node["Resources"].get("CPU", 0.0), gpus=node["Resources"].get("GPU", 0.0))
        for node in nodes
        if node["Alive"]
    )
    return Capacity(nodes=there, cores=os.cpu_count() or 1, could_be=could_be(growth, there))


def this_machine(*, gpus: int) -> Capacity:
    """What a cluster that the session starts here would have: a logical CPU more than there are cores."""
    cores = os.cpu_count() or 1
    return Capacity(nodes=(Node(cpus=float(cores + 1), gpus=float(gpus)),), cores=cores)


def plan_workers(
    wanted: ClusterConfig, there: Capacity, *, streaming: bool, dates_per_batch: int | None = None
) -> Workers:
    """Return the workers of a training, or raise ResourceError with the key to change.

    Streaming training needs one CPU beside the workers: Ray Data starves without a word if they take all.
    ``dates_per_batch``: of a network that is given whole dates, no more of which than workers that nobody asked for.
    """
    any_gpu = any(node.gpus >= 1 for node in there.could_be or there.nodes)
    if wanted.use_gpu is True and not any_gpu:
        raise ResourceError(NO_GPU)
    gpu = any_gpu if wanted.use_gpu == "auto" else bool(wanted.use_gpu)
    number = wanted.num_workers or (_of_gpus(wanted.cpus_per_worker or 1, there) if gpu else 1)
    if wanted.num_workers is None and dates_per_batch is not None:
        number = min(number, dates_per_batch)
    spare = 1 if streaming else 0
    cpus = wanted.cpus_per_worker or _share_of_cores(number, there, gpu=gpu, spare=spare)
    total = sum(node.cpus * node.count for node in there.could_be or there.nodes)
    if there.holds(cpus, gpu=gpu) < number or number * cpus + spare > total:
        raise ResourceError(_too_much(Workers(number=number, cpus=cpus, gpu=gpu), there, streaming=streaming))
    return Workers(number=number, cpus=cpus, gpu=gpu)


def _of_gpus(cpus: int, there: Capacity) -> int:
    """One worker for each GPU that is there with CPUs beside it; where there is none yet, for each there could be."""
    now = sum(node.holds(cpus, gpu=True) * node.count for node in there.nodes)
    return now or max(there.holds(cpus, gpu=True), 1)


def _share_of_cores(number: int, there: Capacity, *, gpu: bool, spare: int) -> int:
    """The most CPUs that each of so many workers can have, ``spare`` being left over; 1 where they do not fit.

    Nodes are taken as they are: no worker spans two, and one with a GPU has the CPUs that lie beside it.
    """
    nodes = there.could_be or there.nodes
    if there.one_machine:  # the spare logical CPU of a local session is no core
        most = min(int(there.largest_node) - spare, there.cores)
        nodes = (Node(cpus=max(most, 0), gpus=nodes[0].gpus),)
        spare = 0
    total = sum(int(node.cpus) * node.count for node in nodes)
    for cpus in range(int(max((node.cpus for node in nodes), default=1)), 1, -1):
        fits = sum(node.holds(cpus, gpu=gpu) * node.count for node in nodes)
        if fits >= number and number * cpus + spare <= total:
            return cpus
    return 1


def _too_much(asked: Workers, there: Capacity, *, streaming: bool) -> str:
    """Say what is asked for, what there is, and which key to change."""
    nodes = there.could_be or there.nodes
    if asked.cpus > max((node.cpus for node in nodes if node.gpus or not asked.gpu), default=0):
        return (
            f"cluster.cpus_per_worker is {asked.cpus}, which no node{' with a GPU' * asked.gpu} has: the cluster has "
            f"{there.told()}; lower cluster.cpus_per_worker"
        )
    each = numbered(asked.cpus, "CPU|CPUs") + " and a GPU" * asked.gpu
    extra = ", and one CPU for Ray Data (data.residency is streaming)" if streaming else ""
    instead = " or set cluster.use_gpu to false" if asked.gpu else ""
    return (
        f"the training wants {numbered(asked.number, 'worker|workers')} of {each}{extra}, the cluster has "
        f"{there.told()}; lower cluster.num_workers or cluster.cpus_per_worker{instead}"
    )


def plan_trials(config: Config, there: Capacity, *, panel_bytes: int) -> tuple[Workers, int, float]:
    """Return what each trial of a search takes, how many run side by side, and the share of a GPU of each.

    Trials of one worker are one-thread processes unless told; ResourceError for more than any node has.
    """
    wanted = suited(config)
    if (wanted.num_workers or 1) > 1:
        return _plan_wide(config, wanted, there)
    asked = config.tune.resources_per_trial
    gpu = share_of_gpu(config, wanted, there, panel_bytes)
    refuse_too_much(asked.cpu, gpu, there, key="tune.resources_per_trial.cpu")
    most = there.side_by_side(asked.cpu, gpu)
    concurrent = min(config.tune.max_concurrent or most, max(int(there.cpus) // asked.cpu, 1))
    return Workers(number=1, cpus=asked.cpu, gpu=gpu > 0), concurrent, gpu


def _plan_wide(config: Config, wanted: ClusterConfig, there: Capacity) -> tuple[Workers, int, float]:
    """Trials of several workers, each of which is Ray Train's."""
    scheduler = config.tune.scheduler
    if isinstance(scheduler, Pbt | HyperBand):
        does = "copies" if isinstance(scheduler, Pbt) else "pauses"
        raise ResourceError(
            f"tune.scheduler {scheduler.type} {does} trials by their checkpoints, which Ray Tune is not given by "
            f"trials of several workers (cluster.num_workers is {wanted.num_workers}); set cluster.num_workers to 1, "
            "or tune.scheduler.type to asha, median or fifo"
        )
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
        if asked > 1 and asked != int(asked):
            raise ResourceError(
                f"tune.resources_per_trial.gpu is {asked:g}, and Ray gives a share of one GPU or whole ones; want "
                "up to 1, or a whole number"
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


def refuse_too_much(cpus: int, gpu: float, there: Capacity, *, key: str) -> None:
    """Refuse what one training would wait for for ever: it takes all on one node. ``key``: that of its CPUs."""
    largest, most = max((node.cpus for node in there.rooms), default=0.0), there.largest_gpu
    if cpus > largest:
        raise ResourceError(f"{key} is {cpus} but the largest node has {numbered(int(largest), 'CPU|CPUs')}; lower it")
    if gpu > most:
        raise ResourceError(
            f"tune.resources_per_trial.gpu is {gpu:g}, and no node has more than {numbered(int(most), 'GPU|GPUs')}; "
            "lower it"
        )
    if not any(node.shares(cpus, gpu) for node in there.rooms):
        raise ResourceError(
            f"no node has {numbered(cpus, 'CPU|CPUs')} and {gpu:.3g} of its GPUs at once: the cluster has "
            f"{there.told()}; lower {key}, or set tune.resources_per_trial.gpu to 0"
        )


def held_back(cpus: int, gpu: float, concurrent: int, there: Capacity) -> float:
    """Return the CPUs that each of many waiting trainings asks for, so that no more than ``concurrent`` begin at once.

    The least that does that, at least ``cpus``, to hundredths. None asks for more than the largest node has, so where
    there are several of those, one begins on each.
    """
    nodes = [node for node in there.at_hand if node.shares(cpus, gpu)]
    shares = {int(100 * node.cpus / k) / 100 for node in nodes for k in range(1, concurrent + 1)}
    for each in sorted({float(cpus), *(share for share in shares if share >= cpus)}):
        if sum(node.shares(each, gpu) * node.count for node in nodes) <= concurrent:
            return each
    return max((node.cpus for node in nodes), default=float(cpus))


def cores(there: Capacity) -> int:
    """Real cores: the spare logical CPU of a local session is none."""
    return max(int(min(there.largest_node, there.cores) if there.one_machine else there.cpus), 1)


def suited(config: Config) -> ClusterConfig:
    """Return the workers that a configuration asks for: one, without a GPU unless told, where only one can fit."""
    wanted = config.cluster
    if not config.model.one_process:
        return wanted
    gpu = False if wanted.use_gpu == "auto" else wanted.use_gpu
    return wanted.model_copy(update={"num_workers": 1, "use_gpu": gpu})


def plan_training(config: Config, there: Capacity, *, streaming: bool, dates: bool) -> Workers:
    """The workers of a training of ``config``; ``dates``: its network takes whole dates, shared by the workers."""
    per_batch = config.train.dates_per_batch if dates else None
    workers = plan_workers(suited(config), there, streaming=streaming, dates_per_batch=per_batch)
    if dates:
        check_dates(config, workers)
    return workers


def check_dates(config: Config, workers: Workers) -> None:
    """Refuse more workers than there are dates in a batch: some would never have anything to do."""
    dates = config.train.dates_per_batch
    if dates is not None and workers.number > dates:
        raise ResourceError(
            f"model.type {config.model.type} takes whole dates, and {workers.number} workers would share batches of "
            f"train.dates_per_batch = {dates}; raise train.dates_per_batch to at least {workers.number}, set it to "
            f"null (one per worker), or set cluster.num_workers to {dates}"
        )
