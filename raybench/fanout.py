"""How library code spreads calls over a machine or a cluster without knowing which."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, Protocol


class Fanout(Protocol):
    """``map`` or anything like it: results in the order of the items. The cluster's spreads the calls."""

    def __call__(self, function: Callable[[Any], Any], items: Iterable[Any], /) -> Iterator[Any]: ...


def on_threads(function: Callable[[Any], Any], items: Iterable[Any], /) -> Iterator[Any]:
    """Like ``map``, on a thread for each core that this process may use: for work that leaves the interpreter alone.

    Items are drawn as results are taken, one more than there are threads. An error comes out as it was raised; calls
    that have not begun by then do not begin.
    """
    threads = cores_of_this_process()
    waiting = iter(items)
    with ThreadPoolExecutor(threads, thread_name_prefix="fanout") as pool:
        begun = deque(pool.submit(function, item) for item in islice(waiting, threads + 1))
        try:
            while begun:
                result = begun.popleft().result()
                begun.extend(pool.submit(function, item) for item in islice(waiting, 1))
                yield result
                del result  # or it would be kept beside the next
        finally:
            for call in begun:
                call.cancel()


def cores_of_this_process() -> int:
    """How many cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
