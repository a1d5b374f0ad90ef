"""What a trained network remembers when it scores: what its run stored, and after that what recent labels say.

A sample of date t is given losses of dates t - (step_len - 1) .. t - horizon. Of these dates each is read from the
run's memory if that has it, and else computed from the instruments that have a label on that date, by forward passes
over them alone; without labels it is not known. So what a date is given depends on nothing but the run and the data
up to that date.

Shapes: S samples in the order of (date, instrument), T dates.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from raybench.feeds.memory import LossMemory, Remembers, StoredMemory, losses_of
from raybench.feeds.reader import SampleReader
from raybench.panel import Panel, Segment
from raybench.storage.arrays import as_tensor

REMEMBERED = "memory"
"""The segment of a scoring panel that has every row with a label, as training would see it."""


class Recall:
    """Keeps ``memory`` filled as far as the dates at hand need it. ``score`` is the segment that is scored, sorted."""

    def __init__(
        self,
        network: nn.Module,
        panel: Panel,
        score: Segment,
        stored: StoredMemory | None,
        *,
        at_once: int,
        device: torch.device | str = "cpu",
    ) -> None:
        remembering: Any = network
        assert isinstance(remembering, Remembers)
        samples = panel.segments[REMEMBERED].samples
        order_S = np.lexsort((samples.instrument_S, samples.date_S))
        samples = samples.take(order_S)
        self._network, self._at_once, self._horizon = network, at_once, remembering.horizon
        self._reader = SampleReader(replace(score, samples=samples), device)  # through the same windows
        self._bounds_T = np.searchsorted(samples.date_S, np.arange(len(panel.dates) + 1))
        self._instrument_S, self._date_S = as_tensor(samples.instrument_S), as_tensor(samples.date_S)
        self._label_S = as_tensor(samples.label_S)
        self.memory = LossMemory(
            len(panel.instruments),
            len(panel.dates),
            remembering.num_states,
            step_len=panel.step_len,
            horizon=remembering.horizon,
            device=device,
        )
        self._known_T = np.zeros(len(panel.dates), np.bool_)
        if stored is not None:
            self._known_T = stored.written_to(self.memory, panel.instruments, panel.dates)

    def reach(self, date: int) -> None:
        """Know what samples of the date with this code are given."""
        for earlier in range(max(date - self.memory.reach, 0), date - self._horizon + 1):
            if not self._known_T[earlier]:
                self._compute(earlier)
                self._known_T[earlier] = True

    def _compute(self, date: int) -> None:
        first, stop = int(self._bounds_T[date]), int(self._bounds_T[date + 1])
        for start in range(first, stop, self._at_once):
            part = slice(start, min(start + self._at_once, stop))
            loss_BK = losses_of(self._network, self._reader.read(part), self._label_S[part])
            self.memory.write(self._instrument_S[part], self._date_S[part], loss_BK)
