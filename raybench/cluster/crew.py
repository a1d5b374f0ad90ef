"""Processes that do pieces of work which each of them can do again, on nodes that may go at any moment.

Ray can restart an actor by itself, but for some seconds after a node is gone it knows nothing of that: it tries to
start the actor there, and spends all of its restarts. So a piece whose process is lost goes back to those that wait,
what is left of the crew goes on, and a process that is hired in place of a lost one gets no piece before it has
answered. A piece that takes its process down each time is given up.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import ObjectLostError, OutOfMemoryError, RayActorError

from raybench.cluster.errors import as_raised
from raybench.cluster.failures import cause_of
from raybench.errors import RaybenchError, ResourceError
from raybench.progress import SILENT, Progress

LOSSES = 3  # processes that a piece may take down before it is held for the cause
PATIENCE_SECONDS = (
    120.0  # without a process that answers: Ray notices a lost node after 30 s, a machine comes in minutes
)
GROWING_SECONDS = 900.0  # the same on a cluster whose autoscaler may have to find a machine
PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0)  # before each try to hire in place of a lost process, the last for all further ones
POLL_SECONDS = 0.5

LOST = (RayActorError, OutOfMemoryError, ObjectLostError)
"""What Ray raises for a process that is gone, or for what it held."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hands:
    """How a crew deals with its processes: ``hire`` one, have it answer (``greet``), give it a piece, let it go."""

    hire: Callable[[], Any]
    greet: Callable[[Any], Any]
    give: Callable[[Any, Any], Any]
    dismiss: Callable[[Any], None] = lambda actor: ray.kill(actor)
    wait: Callable[..., tuple[list[Any], list[Any]]] = ray.wait
    get: Callable[[Any], Any] = ray.get
    now: Callable[[], float] = time.monotonic


@dataclass(slots=True)
class _Piece:
    content: Any
    name: str
    losses: int = 0


@dataclass(slots=True)
class _Hire:
    """A process to be: where it stands among those that were tried, and when the next one is due."""

    tries: int = 0
    due: float = 0.0


@dataclass(slots=True, kw_only=True)
class Crew:
    """``size`` processes; :meth:`results` has them do pieces. ``patience``: seconds without any that answers."""

    hands: Hands
    size: int
    patience: float = PATIENCE_SECONDS
    progress: Progress = SILENT
    _working: dict[Any, tuple[Any, _Piece]] = field(default_factory=dict)
    _greeted: dict[Any, tuple[Any, _Hire]] = field(default_factory=dict)
    _hires: list[_Hire] = field(default_factory=list)
    _idle: list[Any] = field(default_factory=list)
    _heard: float = 0.0

    def results(self, pieces: Sequence[Any], names: Sequence[str]) -> Iterator[Any]:
        """The result of each piece, as they come; ``names`` are what people call them.

        A user error of a process comes out as itself. RaybenchError for a piece that took down more than ``LOSSES``
        processes, ResourceError when none can be had for ``patience``.
        """
        waiting = deque(_Piece(piece, name) for piece, name in zip(pieces, names, strict=True))
        self._heard = self.hands.now()
        self._hires = [_Hire() for _ in range(min(self.size, len(waiting)))]
        try:
            while waiting or self._working:
                self._start(waiting)
                for reference in self._ended():
                    yield from self._take(reference, waiting)
                self._check_patience()
        finally:
            for actor in [*self._idle, *(a for a, _ in [*self._working.values(), *self._greeted.values()])]:
                self.hands.dismiss(actor)

    def _start(self, waiting: deque[_Piece]) -> None:
        now = self.hands.now()
        wanted = len(waiting) - len(self._idle) - len(self._greeted)
        for hire in [each for each in self._hires if each.due <= now][: max(wanted, 0)]:
            self._hires.remove(hire)
            actor = self.hands.hire()
            self._greeted[self.hands.greet(actor)] = (actor, hire)
        while waiting and self._idle:
            actor, piece = self._idle.pop(), waiting.popleft()
            self._working[self.hands.give(actor, piece.content)] = (actor, piece)

    def _ended(self) -> list[Any]:
        references = [*self._greeted, *self._working]
        if not references:
            time.sleep(POLL_SECONDS / 10)
            return []
        ended, _ = self.hands.wait(references, num_returns=1, timeout=POLL_SECONDS)
        return ended

    def _take(self, reference: Any, waiting: deque[_Piece]) -> Iterator[Any]:
        greeted = self._greeted.pop(reference, None)
        if greeted is not None:
            actor, hire = greeted
            try:
                self.hands.get(reference)
            except LOST as error:
                self._replace(actor, hire, error)
            else:
                self._heard = self.hands.now()
                self._idle.append(actor)
            return
        actor, piece = self._working.pop(reference)
        try:
            with as_raised():
                result = self.hands.get(reference)
        except LOST as error:
            piece.losses += 1
            if piece.losses > LOSSES:
                raise RaybenchError(
                    f"{piece.name}: {piece.losses} processes were lost on it, the last because {cause_of(error)}; what "
                    "is finished stays, the same command does the rest"
                ) from error
            waiting.appendleft(piece)
            self.progress.note(f"{piece.name}: {cause_of(error)}; it is done again by another process")
            self._replace(actor, _Hire(), error)
            return
        self._heard = self.hands.now()
        self._idle.append(actor)
        yield result

    def _replace(self, actor: Any, hire: _Hire, error: BaseException) -> None:
        """Hire another one after a while: at once it would be started where the last one was lost."""
        self.hands.dismiss(actor)
        hire.due = self.hands.now() + PAUSES[min(hire.tries, len(PAUSES) - 1)]
        hire.tries += 1
        self._hires.append(hire)

    def _check_patience(self) -> None:
        if self._working or self._idle:
            self._heard = self.hands.now()
        if self.hands.now() - self._heard > self.patience:
            raise ResourceError(
                f"no process could be started on the cluster for {self.patience:.0f} s: its nodes are gone or have no "
                "room; what is finished stays, the same command does the rest"
            )
