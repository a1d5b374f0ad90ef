"""Where the work of a command is done: in its own process, or on which Ray cluster. Its summary says it.

Nothing of Ray is loaded here. A job says it where it begins (``here``, or the session that it opens), and whoever wants
to know collects what is said meanwhile (``heard``).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from raybench.progress import Progress

HERE = "this process"
OWN = "a Ray cluster started for it"

_heard: ContextVar[list[str] | None] = ContextVar("heard", default=None)


def joined_at(address: str) -> str:
    """What a cluster is called that others started."""
    return f"the Ray cluster at {address}"


@contextmanager
def heard() -> Iterator[list[str]]:
    """Collect where work is done meanwhile: each place once, in the order in which they are come to."""
    places: list[str] = []
    before = _heard.set(places)
    try:
        yield places
    finally:
        _heard.reset(before)


def at(place: str) -> bool:
    """Note that work is done at ``place``; False if that has been noted before."""
    places = _heard.get()
    if places is None:
        return True
    if place in places:
        return False
    places.append(place)
    return True


def here(progress: Progress) -> None:
    """Note, and say once, that this process does the work and no Ray."""
    if at(HERE):
        progress.note(f"in {HERE}, without Ray")
