"""What the loop knows of whoever runs it.

After each epoch the loop asks whether to stop, then reports the state that it reached. An error that a repetition would
meet again is told as such before it is raised. Three run the loop: a worker of Ray Train (``cluster.worker``), a trial
of Ray Tune in its own process (``cluster.trial``), and a plain process (``training.alone``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from raybench.errors import UserError
from raybench.training.state import EpochRecord, TrainState


class Reporter(Protocol):
    """Takes what a training comes to, epoch by epoch. Every rank of a group calls it, alike."""

    def asked_to_stop(self, record: EpochRecord) -> bool:
        """Whether no further epoch is wanted; what one rank is told ends all. Asked before the epoch is reported."""
        ...

    def report(self, state: TrainState) -> None:
        """Keep the state as a checkpoint, and its last record as metrics. The ranks of a group meet here."""
        ...

    def fatal(self, cause: UserError) -> None:
        """Take the cause of a failure that ends the training for good, on the way that its result would take.

        The loop raises ``cause`` afterwards, so a runner that hands on what is raised has nothing to do here.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionReporter:
    """A reporter that hands each state to a function, and stops where another says so."""

    on_epoch: Callable[[TrainState], None] = lambda state: None
    stop_when: Callable[[EpochRecord], bool] = lambda record: False

    def asked_to_stop(self, record: EpochRecord) -> bool:
        return self.stop_when(record)

    def report(self, state: TrainState) -> None:
        self.on_epoch(state)

    def fatal(self, cause: UserError) -> None:
        """It is raised by the loop."""


SILENT = FunctionReporter()
"""Keeps nothing and never stops."""
