"""A network that fails while it is trained, in a module that Ray's workers import."""

from __future__ import annotations

import os
import time
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn

from raybench.errors import ConfigError, DataError

WHAT = {
    "config": ConfigError("model.log: refused by the worker; want nothing"),
    "data": DataError("bars: gone in the middle; bring them back"),
}


class Fails(nn.Module):
    """A line through the last row. In ``epoch``, on ``rank`` (-1: on all), it fails and writes a line to ``log``.

    With ``what`` error, or once, that is an error that nobody foresaw, once being the first time of all; with scoring
    before any of them where scores are made.
    """

    def __init__(self, num_features: int, *, log: str, what: str, epoch: int = 1, rank: int = -1) -> None:
        super().__init__()
        self.line = nn.Linear(num_features, 1)
        self._log, self._what, self._epoch, self._rank = Path(log), what, epoch, rank
        self._trained = -1  # it is set to training once when it is made, and once in every epoch

    def train(self, mode: bool = True) -> Fails:
        """Count the epochs."""
        self._trained += mode
        return super().train(mode)

    def forward(self, x_NWF: Tensor) -> Tensor:
        """Score, or fail."""
        score_N: Tensor = self.line(x_NWF[:, -1])[:, 0]
        when, _, what = self._what.rpartition(" ")
        if when == "scoring":
            wrong = not torch.is_grad_enabled() and len(x_NWF) > 2  # not where a network is tried
        else:
            wrong = self.training and torch.is_grad_enabled() and self._trained >= self._epoch
        if not wrong or (what == "once" and self._log.exists()):
            return score_N
        if when != "scoring" and self._rank not in (-1, dist.get_rank() if dist.is_initialized() else 0):
            return score_N
        with self._log.open("a") as log:
            log.write(f"{os.getpid()}\n")
        if what in ("error", "once"):
            raise RuntimeError("boom")
        if what in WHAT:
            raise WHAT[what]
        return score_N * torch.nan


class Slow(nn.Module):
    """A line through the last row that takes a while for each date that it scores, as long as the file ``slow`` is."""

    def __init__(self, num_features: int, *, slow: str) -> None:
        super().__init__()
        self.line = nn.Linear(num_features, 1)
        self._slow = Path(slow)

    def forward(self, x_NWF: Tensor) -> Tensor:
        """Score, in a while."""
        if self._slow.exists():
            time.sleep(0.2)
        score_N: Tensor = self.line(x_NWF[:, -1])[:, 0]
        return score_N
