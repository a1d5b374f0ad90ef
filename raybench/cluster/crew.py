"""Processes that do pieces of work which each of them can do again, on nodes that may go at any moment.

Ray can restart an actor by itself, but for some seconds after a node is gone it knows nothing of that: it tries to
start the actor there, and spends all of its restarts. So a piece whose process is lost goes back to those that wait,
what is left of the crew goes on, and a process that is hired in place of a lost one gets no piece before it has
answered. A piece that takes its process down each time is given up, and so is one of which each process raises an
error that nobody foresaw: one may come of the process, and another one does without it.

A process that stops, or waits for what never comes, is not lost to Ray: one that brings no result for as long as its
piece may take is ended, and its piece done by another.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import ObjectLostError, OutOfMemoryError, RayActorError, RayTaskError

from raybench.cluster.errors import as_raised
from raybench.cluster.failures import cause_of
from raybench.cluster.waits import ALONE_SECONDS, NODE, RESULT
from raybench.errors import RaybenchError, ResourceError
from raybench.progress import SILENT, Progress

LOSSES = 3  # processes that a piece may take down before it is held for the cause
PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0)  # before each try to hire in place of a lost process, the last for all further ones
POLL_SECONDS = 0.5
TOLD_SECONDS = 20.0  # without any process, before people hear of it

LETTING_GO_SECONDS = 1.0  # until a process that is ended has been told so


def let_go(actor: Any) -> None:
    """End a process; where Ray waits to be told of it by a head that is gone, which nothing can interrupt, go on."""
    thread = threading.Thread(target=ray.kill, args=(actor,), name="let-go", daemon=True)
    thread.start()
    thread.join(LETTING_GO_SECONDS)


LOST = (RayActorError, OutOfMemoryError, ObjectLostError)
"""What Ray raises for a process that is gone, or for what it held."""

FAILED = (*LOST, RayTaskError)
"""These, and what Ray raises for an error of the code that a process ran."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hands:
    """How a crew deals with its processes: ``hire`` one, have it say who it is (``greet``), give it a piece, let it go.

    ``allowed``: seconds that a piece may take. ``busy``: what to say where others hold the room for a process; it is
    then waited for as in a queue.
    """

    hire: Callable[[], Any]
    greet: Callable[[Any], Any]
    give: Callable[[Any, Any], Any]
    dismiss: Callable[[Any], None] = lambda actor: let_go(actor)
    allowed: Callable[[Any], float] = lambda piece: math.inf
    busy: Callable[[], str | None] = lambda: None
    wait: Callable[..., tuple[list[Any], list[Any]]] = ray.wait
    get: Callable[[Any], Any] = ray.get
    now: Callable[[], float] = time.monotonic


@dataclass(slots=True)
class _Piece:
    content: Any
    name: str
    losses: int = 0


@dataclass(frozen=True, slots=True)
class _Process:
    actor: Any
    called: str


@dataclass(frozen=True, slots=True)
class _Work:
    process: _Process
    piece: _Piece
    until: float  # when it is taken to hang


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
    patience: float = ALONE_SECONDS
    progress: Progress = SILENT
    _working: dict[Any, _Work] = field(default_factory=dict)
    _greeted: dict[Any, tuple[Any, _Hire]] = field(default_factory=dict)
    _hires: list[_Hire] = field(default_factory=list)
    _idle: list[_Process] = field(default_factory=list)
    _heard: float = 0.0
    _told: bool = False
    _failing: bool = False  # processes are started, and are lost before they answer

    def results(self, pieces: Sequence[Any], names: Sequence[str]) -> Iterator[Any]:
        """The result of each piece, as they come; ``names`` are what people call them.

        A user error of a process comes out as itself. RaybenchError for a piece that took down, or failed in, more than
        ``LOSSES`` processes, ResourceError when none can be had for ``patience``.
        """
        waiting = deque(_Piece(piece, name) for piece, name in zip(pieces, names, strict=True))
        self._heard = self.hands.now()
        self._hires = [_Hire() for _ in range(min(self.size, len(waiting)))]
        try:
            while waiting or self._working:
                self._start(waiting)
                for reference in self._ended():
                    yield from self._take(reference, waiting)
                self._end_those_that_hang(waiting)
                self._check_patience()
        finally:
            for process in [*self._idle, *(work.process for work in self._working.values())]:
                self.hands.dismiss(process.actor)
            for actor, _ in self._greeted.values():
                self.hands.dismiss(actor)

    def _start(self, waiting: deque[_Piece]) -> None:
        now = self.hands.now()
        wanted = len(waiting) - len(self._idle) - len(self._greeted)
        for hire in [each for each in self._hires if each.due <= now][: max(wanted, 0)]:
            self._hires.remove(hire)
            actor = self.hands.hire()
            self._greeted[self.hands.greet(actor)] = (actor, hire)
        while waiting and self._idle:
            process, piece = self._idle.pop(), waiting.popleft()
            until = self.hands.now() + self.hands.allowed(piece.content)
            self._working[self.hands.give(process.actor, piece.content)] = _Work(process, piece, until)

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
                called = str(self.hands.get(reference))
            except LOST:
                self._failing = True
                self._replace(actor, hire)
            else:
                self._failing = False
                self._heard = self.hands.now()
                self._idle.append(_Process(actor, called))
            return
        work = self._working.pop(reference)
        try:
            with as_raised():
                result = self.hands.get(reference)
        except FAILED as error:
            self._again(work, cause_of(error), waiting, error)
            return
        self._heard = self.hands.now()
        self._idle.append(work.process)
        yield result

    def _end_those_that_hang(self, waiting: deque[_Piece]) -> None:
        now = self.hands.now()
        late = [reference for reference, work in self._working.items() if work.until < now]
        if late:  # but for those whose result nobody took yet
            _, late = self.hands.wait(late, num_returns=len(late), timeout=0)
        for reference in late:
            work = self._working.pop(reference)
            seconds = self.hands.allowed(work.piece.content)
            why = f"{work.process.called} brought no result for {seconds:.0f} s ({RESULT}) and was ended"
            self._again(work, why, waiting)

    def _again(self, work: _Work, why: str, waiting: deque[_Piece], error: BaseException | None = None) -> None:
        """Give the piece back to those that wait, and have another process in the place of the one that had it."""
        piece = work.piece
        piece.losses += 1
        if piece.losses > LOSSES:
            raise RaybenchError(
                f"{piece.name}: {piece.losses} processes were lost on it or failed, the last because {why}; what "
                "is finished stays, the same command does the rest"
            ) from error
        waiting.appendleft(piece)
        self.progress.note(f"{piece.name}: {why}; it is done again by another process")
        self._replace(work.process.actor, _Hire())

    def _replace(self, actor: Any, hire: _Hire) -> None:
        """Hire another one after a while: at once it would be started where the last one was lost."""
        self.hands.dismiss(actor)
        hire.due = self.hands.now() + PAUSES[min(hire.tries, len(PAUSES) - 1)]
        hire.tries += 1
        self._hires.append(hire)

    def _check_patience(self) -> None:
        if self._working or self._idle:
            self._heard, self._told = self.hands.now(), False
        silent = self.hands.now() - self._heard
        if silent <= TOLD_SECONDS:
            return
        busy = None if self._failing else self.hands.busy()
        if busy is not None:  # patience is for nodes, not for a queue
            self._heard += silent - TOLD_SECONDS
        elif silent > self.patience:
            raise ResourceError(
                f"no process could be started on the cluster for {self.patience:.0f} s ({NODE}): its nodes are gone or "
                "have no room; what is finished stays, the same command does the rest"
            )
        if not self._told:
            self._told = True
            self.progress.note(
                busy
                or f"no process can be started on the cluster, its nodes are gone or have no room: waiting for that, "
                f"for {self.patience:.0f} s at most ({NODE})"
            )
