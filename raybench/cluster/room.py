"""What of a cluster is free, and what is said where somebody waits for what others hold.

Ray lets whoever asks for more than is free wait, as a queue does, and says so to nobody.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import ray
from ray.exceptions import RayError

from raybench.progress import Progress
from raybench.reports.text import numbered

TOLD_SECONDS = 20.0  # a process that has room is there by then
POLL_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What somebody waits for: ``what`` in words, and what that takes in all."""

    what: str
    cpus: float
    gpus: float = 0.0


def held_by_others(wish: Wish) -> str | None:
    """Say that a wish waits for what others hold; None where so much is free, or Ray does not answer."""
    try:
        free, there = ray.available_resources(), ray.cluster_resources()
    except RayError:
        return None
    for name, wanted in (("CPU", wish.cpus), ("GPU", wish.gpus)):
        left = free.get(name, 0.0)
        if wanted > left:
            all_of_it = numbered(int(there.get(name, 0.0)), f"{name}|{name}s")
            return (
                f"{wish.what} {wanted:g} {name if wanted == 1 else name + 's'}, and {left:g} of the {all_of_it} of the "
                f"cluster {'is' if left == 1 else 'are'} free: waiting until others give theirs back (ray status says "
                "who holds them). Ctrl-C ends the wait"
            )
    return None


@contextmanager
def told_of_waiting(
    wish: Wish,
    here: threading.Event,
    progress: Progress,
    *,
    held: Callable[[Wish], str | None] = held_by_others,
    after: float = TOLD_SECONDS,
    every: float = POLL_SECONDS,
) -> Iterator[None]:
    """While the block runs, say it, once each time, where ``here`` is not set for a while and others hold the wish."""
    over = threading.Event()

    def watch() -> None:
        since, said = time.monotonic(), False
        while not over.wait(every):
            if here.is_set():
                since, said = time.monotonic(), False
            elif not said and time.monotonic() - since >= after:
                found = held(wish)
                if found is not None and not over.is_set():
                    progress.note(found)
                    said = True

    thread = threading.Thread(target=watch, name="room", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(POLL_SECONDS)  # Ray, asked by it, never answers where the head is gone
