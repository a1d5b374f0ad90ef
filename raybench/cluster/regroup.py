"""What happens between the loss of training workers and the start of the next group of them.

For some 20 s after a node is gone Ray does not know it, and would start workers there, again and again, until all
tries of the training are spent. So a node that does not answer is waited for until Ray counts it as gone. Where what
is left cannot hold the group, and no autoscaler can bring more, it is given some time to come back (``cluster.waits``),
and the training then ends with that cause. This runs in Ray Train's controller, a process that needs neither torch nor
pandas.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import ray

from raybench.cluster.address import reaches
from raybench.cluster.failures import EndsOnUserErrors, cause_of
from raybench.cluster.group import LOST
from raybench.cluster.growth import said_by_ray
from raybench.cluster.journal import Journal
from raybench.cluster.resources import Capacity, Node, Workers, capacity_of
from raybench.cluster.waits import ALONE_SECONDS, NODE
from raybench.errors import ResourceError
from raybench.reports.text import numbered

NOTICE_SECONDS = 60.0  # until Ray has noticed by itself
POLL_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What is asked of Ray and of the clock."""

    nodes: Callable[[], Sequence[dict[str, Any]]] = ray.nodes
    reaches: Callable[[str, int], bool] = reaches
    growth: Callable[[], tuple[Node, ...]] = said_by_ray
    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def capacity(self, told: tuple[Node, ...]) -> Capacity:
        """What is there, and could be, by what the driver was ``told``, or else by what Ray says."""
        return capacity_of(self.nodes(), told or self.growth())


class Regroups(EndsOnUserErrors):
    """Hears of lost workers: says which and why, and lets the next group begin when it has a chance.

    ``patience``: seconds for a node to come back without which the group has no room.
    """

    def __init__(
        self,
        journal: Journal,
        workers: Workers,
        around: Surroundings | None = None,
        *,
        growth: tuple[Node, ...] = (),
        patience: float = ALONE_SECONDS,
    ) -> None:
        self._journal, self._workers, self._around = journal, workers, around or Surroundings()
        self._growth, self._patience = growth, patience  # growth as the driver was told it

    def after_exception(self, run_context: object, worker_exceptions: dict[int, Exception]) -> None:
        """Called with the errors of the workers by rank, before Ray Train decides what to do."""
        super().after_exception(run_context, worker_exceptions)
        named = sorted(worker_exceptions.items())[:3]
        self._journal.add(LOST, {rank: cause_of(error) for rank, error in named})
        self._until_ray_knows()
        self._until_there_is_room()

    def _note(self, text: str) -> None:
        self._journal.add("note", text)

    def _until_ray_knows(self) -> None:
        """Wait until every node that Ray counts as living answers."""
        around = self._around
        until = around.now() + NOTICE_SECONDS
        while around.now() < until:
            living = [node for node in around.nodes() if node["Alive"]]
            if all(around.reaches(node["NodeManagerAddress"], node["NodeManagerPort"]) for node in living):
                return
            around.sleep(POLL_SECONDS)

    def _until_there_is_room(self) -> None:
        around, workers = self._around, self._workers
        until, told = around.now() + self._patience, False
        while True:
            there = around.capacity(self._growth)
            wanted = f"{numbered(workers.number, 'worker|workers')} of {numbered(workers.cpus, 'CPU|CPUs')}"
            wanted += " and a GPU" * workers.gpu
            if self._held_by(replace(there, could_be=())):
                return
            if self._held_by(there):
                self._note(f"a node is gone: {wanted} wait until the cluster has grown; it has {_now(there)}")
                return  # Ray Train asks the autoscaler for it, and waits
            if around.now() > until:
                raise ResourceError(
                    f"a node is gone, and did not come back in {self._patience:.0f} s ({NODE}): the training has "
                    f"{wanted}, the cluster {there.told()}; bring it back, or lower cluster.num_workers, then go on "
                    "with --resume"
                )
            if not told:
                self._note(
                    f"a node is gone: {wanted} have no room on {there.told()}; waiting for it to come back, for "
                    f"{self._patience:.0f} s at most ({NODE})"
                )
                told = True
            around.sleep(POLL_SECONDS)

    def _held_by(self, there: Capacity) -> bool:
        return there.holds(self._workers.cpus, gpu=self._workers.gpu) >= self._workers.number


def _now(there: Capacity) -> str:
    return replace(there, could_be=()).told()
