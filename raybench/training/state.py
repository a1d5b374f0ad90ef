"""Where a training stands: everything a checkpoint holds and a resumed run goes on from.

Randomness needs no saved generator state: batch order and dropout are seeded from (seed, epoch, rank) at
the start of each epoch, so an epoch that starts again starts the same.
"""

from __future__ import annotations

import io
import math
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from raybench.errors import RunError

SCHEMA_VERSION = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochRecord:
    """One row of history.parquet; ``seconds`` is training plus validation, ``grad_norm`` before clipping."""

    epoch: int
    seconds: float
    samples_per_second: float
    train_loss: float
    valid_loss: float
    valid_ic: float
    valid_rank_ic: float
    grad_norm: float
    lr: float


@dataclass(slots=True, kw_only=True)
class TrainState:
    """Progress of one training; ``weights`` are the last epoch's, ``best_weights`` what is kept at the end.

    Epochs are counted through all phases (a pretraining, the network); ``phase_began`` is the last epoch of the
    phase before, ``last_epoch`` what can be the last of all, ``steps`` the batches of the phase so far. The best
    epoch, weights and optimizer are those of the phase at hand; ``best_memory``: the losses that a network remembers
    with its best weights (``feeds.memory``), empty for others. ``pretraining``: whether the last epoch was of a phase
    before the network's own.
    """

    phase: int = 0
    pretraining: bool = False
    phase_began: int = 0
    last_epoch: int = 0
    epoch: int = 0
    steps: int = 0
    best_epoch: int = 0
    best: float = -math.inf
    finished: bool = False
    weights: dict[str, Tensor] = field(default_factory=dict)
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    best_memory: bytes = b""
    optimizer: dict[str, Any] = field(default_factory=dict)
    schedule: dict[str, Any] = field(default_factory=dict)
    history: list[EpochRecord] = field(default_factory=list)

    def next_phase(self, weights: dict[str, Tensor]) -> None:
        """Stand before the first epoch of the next phase, which begins with ``weights``."""
        self.phase, self.phase_began, self.steps = self.phase + 1, self.epoch, 0
        self.best_epoch, self.best, self.best_weights, self.best_memory = 0, -math.inf, {}, b""
        self.weights, self.optimizer, self.schedule = weights, {}, {}

    def own_history(self) -> list[EpochRecord]:
        """Return the epochs of the network itself, without those of its pretraining: losses of both do not compare."""
        return [] if self.pretraining else self.history[self.phase_began :]

    def best_record(self) -> EpochRecord:
        """Return the history row of the best epoch."""
        return self.history[self.best_epoch - 1]


def to_bytes(state: TrainState) -> bytes:
    """Serialise with tensors and plain values only, so that it opens with ``weights_only=True``."""
    plain = {
        "schema_version": SCHEMA_VERSION,
        **{name: getattr(state, name) for name in state.__dataclass_fields__ if name != "history"},
        "best_memory": torch.from_numpy(np.frombuffer(state.best_memory, np.uint8).copy()),
        "history": [{name: getattr(record, name) for name in record.__dataclass_fields__} for record in state.history],
    }
    buffer = io.BytesIO()
    torch.save(plain, buffer)
    return buffer.getvalue()


def from_bytes(data: bytes) -> TrainState:
    """Read what :func:`to_bytes` wrote; RunError if it is damaged or of another version."""
    try:
        plain = torch.load(io.BytesIO(data), weights_only=True, map_location="cpu")
        version = plain.pop("schema_version")
    except Exception as error:
        raise RunError(f"a training checkpoint cannot be read ({error}); train again into a new --out") from error
    if version != SCHEMA_VERSION:
        raise RunError(
            f"a training checkpoint has version {version}, wanted {SCHEMA_VERSION}; "
            "finish it with the raybench that began it or train again into a new --out"
        )
    history = [EpochRecord(**record) for record in plain.pop("history")]
    memory = plain.pop("best_memory").numpy().tobytes()
    return TrainState(history=history, best_memory=memory, **plain)


def epoch_event(state: TrainState) -> dict[str, Any]:
    """What is told of the epoch just finished: its record, the last epoch there can be, and the best one so far."""
    return {
        **asdict(state.history[-1]),
        "last_epoch": state.last_epoch or state.epoch,
        "best_epoch": state.best_epoch,
    }
