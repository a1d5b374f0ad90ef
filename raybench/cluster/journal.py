"""What workers tell the driver while they run: progress of a step count, finished epochs.

Ray Train's own reports reach its controller only, which lives in another process than the command line; a
small actor carries them to the driver, which looks every ``POLL_SECONDS``. It runs in a process of its own, so
neither this module nor an event may need torch, which alone would be most of that process.

Events are for people to see: one that is lost, or the actor itself, costs a training nothing but that.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

import ray
from ray.exceptions import ActorDiedError, RayError

from raybench.progress import SILENT, Advance, Progress

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
        self._actor = _Journal.remote()  # type: ignore[attr-defined]

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


class WorkerProgress:
    """Progress of rank 0, sent on to the driver at most every ``POLL_SECONDS``."""

    def __init__(self, journal: Journal, *, speaks: bool) -> None:
        self._journal, self._speaks = journal, speaks

    @contextmanager
    def track(self, name: str, total: int | None, *, at_most: bool = False) -> Iterator[Advance]:
        """Announce a stage and count its steps."""
        done, sent_at = 0, time.monotonic()

        def advance(n: int = 1, text: str = "") -> None:
            nonlocal done, sent_at
            done += n
            if self._speaks and time.monotonic() - sent_at >= POLL_SECONDS:
                self._journal.add("step", (name, total, done))
                sent_at = time.monotonic()

        yield advance
        if self._speaks:
            self._journal.add("step", (name, total, done))

    def note(self, text: str) -> None:
        """Send one line."""
        if self._speaks:
            self._journal.add("note", text)


class EpochBars:
    """Turns the workers' events into one progress bar per epoch, which ends with what the epoch brought."""

    def __init__(self, progress: Progress, max_epochs: int) -> None:
        self._progress, self._max_epochs = progress, max_epochs
        self._bar: AbstractContextManager[Advance] | None = None
        self._advance: Advance | None = None
        self._stage, self._done, self._last_epoch = "", 0, 0

    def __enter__(self) -> EpochBars:
        return self

    def __exit__(self, *failure: object) -> None:
        self._close()

    def hear(self, kind: str, value: Any) -> None:
        """Take one event of :class:`Journal`."""
        if kind == "step":
            self._step(*value)
        elif kind == "epoch" and value["epoch"] > self._last_epoch:  # a restarted worker may say it again
            self._last_epoch = value["epoch"]
            if self._advance is not None:
                self._advance(0, text=epoch_line(value, value.get("last_epoch", self._max_epochs)))
            self._close()

    def _step(self, stage: str, total: int | None, done: int) -> None:
        if stage != self._stage or done < self._done:
            self._close()
            self._stage, self._done = stage, 0
            self._bar = self._progress.track(stage, total)
            self._advance = self._bar.__enter__()
        if self._advance is not None:
            self._advance(done - self._done)
            self._done = done

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.__exit__(None, None, None)
        self._bar = self._advance = None


def epoch_line(record: Mapping[str, float], last_epoch: int) -> str:
    """Say in a line what an epoch brought and how long the rest takes at most; ``record``: of ``EpochRecord``."""
    left = record["seconds"] * (last_epoch - record["epoch"])
    return (
        f"{record['samples_per_second']:,.0f} samples/s, train loss {record['train_loss']:.5f}, "
        f"valid loss {record['valid_loss']:.5f}, IC {record['valid_ic']:.4f}, Rank IC {record['valid_rank_ic']:.4f}, "
        f"at most {left / 60:.1f} min left"
    )
