"""How much memory a process takes for itself, at most: without files that are mapped and without shared memory.

A panel in the object store lies there once for all processes of a node, so it is nobody's own.
"""

from __future__ import annotations

import os
import resource
import sys
import threading
from types import TracebackType

MIB = 2**20
EVERY_SECONDS = 0.05


class OwnMemory:
    """Measures while its block runs; ``peak_mib`` is the most that was seen, by a look every 50 ms.

    Where /proc does not tell it is what the system calls the peak, shared memory included.
    """

    def __init__(self) -> None:
        self.peak_mib = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="own-memory", daemon=True)

    def __enter__(self) -> OwnMemory:
        self._look()
        self._thread.start()
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._ended.set()
        self._thread.join()
        self._look()

    def _watch(self) -> None:
        while not self._ended.wait(EVERY_SECONDS):
            self._look()

    def _look(self) -> None:
        self.peak_mib = max(self.peak_mib, own_mib())


def own_mib() -> float:
    """What this process takes for itself now, in MiB."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            _, resident, shared, *_ = map(int, file.read().split())
    except OSError:
        known = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return known / (MIB if sys.platform == "darwin" else 1024)
    return (resident - shared) * os.sysconf("SC_PAGE_SIZE") / MIB
