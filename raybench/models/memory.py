"""What a network remembers of its errors: losses by instrument, date and predictor, read with the label's delay.

Shapes: N instruments, T dates, K predictors, B samples, L dates that are remembered per sample. Losses are finite;
0 stands for what is not known (no row, no label, before the first date).

The label of a sample looks ``horizon`` dates ahead, so its loss is known that many dates later: a sample of date t is
given the losses of its instrument on dates t - (step_len - 1) .. t - horizon, and none after.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


class LossMemory:
    """A table [N, T, K] on one device. Dates and instruments are codes, as in a panel's samples."""

    def __init__(
        self,
        instruments: int,
        dates: int,
        states: int,
        *,
        step_len: int,
        horizon: int,
        device: torch.device | str = "cpu",
    ) -> None:
        assert 1 <= horizon < step_len, "the configuration has been checked"
        self._back = step_len - 1
        # Dates stand behind step_len - 1 dates of nothing, so that what reaches before the first one reads 0.
        self._loss_NPK = torch.zeros(instruments, dates + self._back, states, device=device)
        self._offset_L = torch.arange(step_len - horizon, device=device)

    @property
    def loss_NTK(self) -> Tensor:
        """The whole table, a view."""
        return self._loss_NPK[:, self._back :]

    def write(self, instrument_B: Tensor, date_B: Tensor, loss_BK: Tensor) -> None:
        """Remember losses; a later one takes the place of an earlier one of the same sample."""
        self._loss_NPK[instrument_B.long(), date_B.long() + self._back] = loss_BK.detach().to(self._loss_NPK)

    def read(self, instrument_B: Tensor, date_B: Tensor) -> Tensor:
        """Return what is known at each sample's date, oldest first [B, L, K]."""
        # Row t - (step_len - 1) of the dates is row t of the table.
        return self._loss_NPK[instrument_B.long()[:, None], date_B.long()[:, None] + self._offset_L]

    def inputs(self, instrument_B: Tensor, date_B: Tensor) -> Mapping[str, Tensor]:
        """Return what a network with such a memory is called with beside its windows."""
        return {"hist_loss": self.read(instrument_B, date_B)}
