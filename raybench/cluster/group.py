"""What the driver of a training knows of the processes that do it: who they are, and how many were lost.

Workers say who they are, Ray Train's controller says which are lost; both through the journal. Lost groups and lost
controllers count together against ``cluster.max_failures``.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

import ray
from ray.exceptions import RayError
from ray.util import get_current_placement_group, remove_placement_group
from ray.util.placement_group import PlacementGroup

from raybench.progress import Progress

MEMBER, LOST = "member", "lost"  # kinds of events of the journal


class Member(NamedTuple):
    """A worker: its ``rank``, what people find its ``process`` by, and the ``room`` that Ray holds for its group."""

    rank: int
    process: str
    room: PlacementGroup | None

    @classmethod
    def here(cls, rank: int) -> Member:
        """The worker that this process is."""
        return cls(rank, this_process(), get_current_placement_group())


def this_process() -> str:
    """What people find this process by on a cluster."""
    return f"process {os.getpid()} on {ray.util.get_node_ip_address()}"


class Group:
    """Hears of workers, says which are lost and why, and counts the ``failures``. ``here`` is set while they are."""

    def __init__(self, number: int, progress: Progress) -> None:
        self.failures, self.here = 0, threading.Event()
        self._number, self._progress = number, progress
        self._members: dict[int, Member] = {}

    def hearing(self, further: Callable[[str, Any], None]) -> Callable[[str, Any], None]:
        """Hear events of the journal, and hand on all that is not for the group."""

        def hear(kind: str, value: Any) -> None:
            if kind == MEMBER:
                self._members[value[0]] = Member(*value)
                self.here.set()
            elif kind == LOST:
                self._lost(value)
            else:
                further(kind, value)

        return hear

    def _lost(self, causes: dict[int, str]) -> None:
        """One failure: the causes by rank."""
        self.failures += 1
        self.here.clear()
        for rank, cause in sorted(causes.items()):
            process = f" ({self._members[rank].process})" if rank in self._members else ""
            self._progress.note(f"worker {rank} of {self._number}{process} is lost: {cause}")

    def give_room_back(self) -> None:
        """Have Ray give free what it holds for the workers: those of a lost controller would hold it for ever.

        Ray Train's own helper for that works on clusters with a dashboard only.
        """
        rooms = [member.room for member in self._members.values() if member.room is not None]
        self._members.clear()
        self.here.clear()
        for room in {room.id: room for room in rooms}.values():
            with suppress(RayError, ValueError):
                remove_placement_group(room)
