"""Spreading calls over a Ray cluster: the one way in which library code's work becomes Ray tasks.

A few more calls are in flight than there are CPUs, and no further one is begun before a result was taken: a consumer
that is slower than the tasks is not overrun, and the object store holds no more than these results. A task that is
lost with its node runs again, as Ray has it.

Three things stay beside it, since each needs what a task does not have: the feature job, a pipeline of Ray Data
(``cluster.jobs.features``); actors that keep a network between chunks of dates (``cluster.scoring_pool``); the blocks
of a streamed training, which Ray Data holds, spills and hands to Ray Train's workers (``cluster.residency``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

import ray

from raybench.cluster.errors import as_raised

AHEAD = 2  # calls that wait for a CPU, so that none is idle while a result is taken


def fanout(function: Callable[[Any], Any], items: Iterable[Any], /) -> Iterator[Any]:
    """Like ``map``, each call a Ray task of one CPU; results come in the order of ``items``, which are drawn as needed.

    What ``function`` carries along lies in the object store once. A user error of a task comes out as itself.
    """
    most = int(ray.cluster_resources().get("CPU", 1)) + AHEAD
    shared, waiting = ray.put(function), iter(items)
    begun = deque(_call.remote(shared, item) for item in islice(waiting, most))
    try:
        while begun:
            with as_raised():
                result = ray.get(begun.popleft())
            begun.extend(_call.remote(shared, item) for item in islice(waiting, 1))
            yield result
            del result  # or it would be kept beside the next
    finally:
        for call in begun:
            ray.cancel(call)


@ray.remote(num_cpus=1)
def _call(function: Callable[[Any], Any], item: Any) -> Any:
    return function(item)
