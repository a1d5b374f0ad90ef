"""Work spread over a pool of actors that hold something large or slow to make.

Ray's own pool gives up when an actor dies, and Ray Data's writes to the terminal when it starts one.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import ray
from ray.exceptions import RayActorError

from raybench.cluster.errors import as_raised
from raybench.errors import RaybenchError

RETRIES = 3  # of an item whose actor dies: enough for machines that go away, not for ever if the item is the cause
_START = -1


def spread(start: Callable[[], Any], items: Sequence[Any], *, size: int) -> Iterator[Any]:
    """Give each item to one of ``size`` actors; results come as they are made, in any order.

    ``start`` makes an actor, whose methods are ``prepare()`` and ``work(item)``. Items go to actors that are
    prepared only, so one that the cluster has no room for holds nothing up. An actor that dies is replaced and
    its item done again; what an actor raises ends the whole.
    """
    pool = _Pool(start, items)
    try:
        for _ in range(min(size, len(items))):
            pool.add_actor()
        while pool.unfinished:
            yield from pool.next_results()
    finally:
        pool.close()


class _Pool:
    """Actors at work: each call's reference with its actor and the index of its item."""

    def __init__(self, start: Callable[[], Any], items: Sequence[Any]) -> None:
        self._start, self._items = start, items
        self._waiting = deque(range(len(items)))
        self._calls: dict[ray.ObjectRef[Any], tuple[Any, int]] = {}
        self._deaths: Counter[int] = Counter()
        self.unfinished = len(items)

    def add_actor(self) -> None:
        actor = self._start()
        self._calls[actor.prepare.remote()] = (actor, _START)

    def next_results(self) -> Iterator[Any]:
        """Wait for a call to end and give its actor something else to do."""
        (ended,), _ = ray.wait(list(self._calls), num_returns=1)
        actor, index = self._calls.pop(ended)
        try:
            with as_raised():
                result = ray.get(ended)
        except RayActorError as error:
            self._replace(index, error)
            return
        if self._waiting:
            following = self._waiting.popleft()
            self._calls[actor.work.remote(self._items[following])] = (actor, following)
        if index != _START:
            self.unfinished -= 1
            yield result

    def _replace(self, index: int, error: RayActorError) -> None:
        self._deaths[index] += 1
        if self._deaths[index] > RETRIES:
            times = self._deaths[index]
            raise RaybenchError(f"worker processes died {times} times at the same work: {error}") from error
        if index != _START:
            self._waiting.appendleft(index)
        self.add_actor()

    def close(self) -> None:
        for actor, _ in self._calls.values():
            ray.kill(actor)
        self._calls.clear()
