"""What workers tell the driver while they run: progress of a step count, finished epochs.

Ray Train's own reports reach its controller only, which lives in another process than the command line; a
small actor carries them to the driver, which looks every ``POLL_SECONDS``. It runs in a process of its own, so
neither this module nor an event may need torch, which alone would be most of that process.

Events are for people to see: one that is lost, or the actor itself, costs a training nothing but that. The actor is
on the driver's node: were it elsewhere, it would go with a node that goes, and what is said of that with it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import ray
from ray.exceptions import ActorDiedError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from raybench.progress import SILENT, Progress

POLL_SECONDS = 0.3
ANSWER_SECONDS = 10.0

Event = tuple[str, Any]


@ray.remote(num_cpus=0, max_restarts=2)
class _Journal:
    def __init__(self) -> None:
        self._events: list[Event] = []

    def add(self, event: Event) -> None:
        self._events.append(event)

    def take(self) -> list[Event]:
        events, self._events = self._events, []
        return events


class Journal:
    """Handle on the actor; it pickles, so workers get it in their configuration."""

    def __init__(self) -> None:
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self._actor = _Journal.options(scheduling_strategy=here).remote()  # type: ignore[attr-defined]

    def add(self, kind: str, value: Any) -> None:
        """Send one event without waiting for it, or for news of its arrival."""
        with suppress(RayError):
            self._actor.add.remote((kind, value))

    @contextmanager
    def listening(self, hear: Callable[[str, Any], None], progress: Progress = SILENT) -> Iterator[None]:
        """Call ``hear`` for each event, in order, from a thread, until the block ends.

        ``progress`` is told, once, when the actor is gone and nothing more will be heard.
        """
        done = threading.Event()

        def listen() -> None:
            while not done.wait(POLL_SECONDS):
                try:
                    self._deliver(hear)
                except ActorDiedError:
                    progress.note("the process that gathers progress is gone: the training goes on without showing any")
                    return
                except RayError:
                    continue  # it is being started again

        thread = threading.Thread(target=listen, name="journal", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
            with suppress(RayError):
                self._deliver(hear)

    def _deliver(self, hear: Callable[[str, Any], None]) -> None:
        for kind, value in ray.get(self._actor.take.remote(), timeout=ANSWER_SECONDS):
            hear(kind, value)
