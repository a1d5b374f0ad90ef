"""What a network remembers of its errors: losses by instrument, date and predictor, read with the label's delay.

Shapes: N instruments, T dates, K predictors, B samples, L dates that are remembered per sample. Losses are finite;
0 stands for what is not known (no row, no label, before the first date).

The label of a sample looks ``horizon`` dates ahead, so its loss is known that many dates later: a sample of date t is
given the losses of its instrument on dates t - (step_len - 1) .. t - horizon, and none after.

In training the table is filled anew from the weights of each epoch (``feeds.bank``); a run keeps its last dates, and
scoring computes those that come after (``feeds.recall``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from raybench.models.interface.inputs import Inputs

SCHEMA_VERSION = 1
Moments = NDArray[np.datetime64]


@runtime_checkable
class Remembers(Protocol):
    """A network that is given its own past losses as ``hist_loss`` [N, L, K], ``horizon`` dates late.

    ``errors`` returns what is remembered of samples [N, K]: it may depend on the weights, the windows and the labels,
    and not on ``hist_loss``, so that it can be computed of any sample at any time.
    """

    num_states: int
    horizon: int

    def errors(self, x: Tensor, label_N: Tensor) -> Tensor: ...


@torch.no_grad()
def losses_of(network: nn.Module, inputs: Inputs, label_B: Tensor) -> Tensor:
    """Return what a network is to remember of samples [B, K]; 0 where there is no (finite) label."""
    remembering: Any = network
    parameter = next(network.parameters())
    x_BWF, label_B = inputs.x_BWF.to(parameter.dtype), label_B.to(parameter.device, parameter.dtype)
    loss_BK: Tensor = remembering.errors(x_BWF, label_B)
    known_B = label_B.isfinite() & loss_BK.isfinite().all(dim=1)
    return torch.where(known_B[:, None], loss_BK, 0.0).float()


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
    def reach(self) -> int:
        """How many dates a sample looks back."""
        return self._back

    @property
    def loss_NTK(self) -> Tensor:
        """The whole table, a view."""
        return self._loss_NPK[:, self._back :]

    def write(self, instrument_B: Tensor, date_B: Tensor, loss_BK: Tensor) -> None:
        """Remember losses; a later one takes the place of an earlier one of the same sample.

        Dates before the first one of the table have the codes -1, -2 and so on, as far as a sample of it reaches back.
        """
        place = [code.to(self._loss_NPK.device).long() for code in (instrument_B, date_B)]
        self._loss_NPK[place[0], place[1] + self._back] = loss_BK.detach().to(self._loss_NPK)

    def read(self, instrument_B: Tensor, date_B: Tensor) -> Tensor:
        """Return what is known at each sample's date, oldest first [B, L, K]."""
        # Row t - (step_len - 1) of the dates is row t of the table.
        return self._loss_NPK[instrument_B.long()[:, None], date_B.long()[:, None] + self._offset_L]

    def inputs(self, instrument_B: Tensor, date_B: Tensor) -> Mapping[str, Tensor]:
        """Return what a network with such a memory is called with beside its windows."""
        return {"hist_loss": self.read(instrument_B, date_B)}


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredMemory:
    """The last dates that a trained network remembers: losses [N, T, K] of instruments on dates (datetime64[us])."""

    instruments: tuple[str, ...]
    dates: Moments
    loss_NTK: Tensor

    @property
    def last(self) -> np.datetime64:
        """The last date."""
        last: np.datetime64 = self.dates[-1]
        return last

    def to_bytes(self) -> bytes:
        """Write it as safetensors: ``loss``, and ``facts`` in the header."""
        dates = [str(date) for date in self.dates.astype("datetime64[us]")]
        facts = {"schema_version": SCHEMA_VERSION, "instruments": self.instruments, "dates": dates}
        return safetensors.torch.save({"loss": self.loss_NTK.cpu().contiguous()}, {"facts": json.dumps(facts)})

    @classmethod
    def from_bytes(cls, data: bytes) -> StoredMemory:
        """Read what ``to_bytes`` wrote."""
        length = int.from_bytes(data[:8], "little")  # of the header: safetensors has no call to read it from memory
        facts = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["facts"])
        return cls(
            instruments=tuple(facts["instruments"]),
            dates=np.array(facts["dates"], "datetime64[us]"),
            loss_NTK=safetensors.torch.load(data)["loss"],
        )

    def written_to(self, memory: LossMemory, instruments: Sequence[str], dates: Moments) -> NDArray[np.bool_]:
        """Copy what concerns these instruments and dates (those of the table) -> which of the dates are known [T].

        Stored dates before the first one go before it, as far as the table reaches back; none do where working days
        lie between the last that is stored and the first, as nobody knows how many dates that are.
        """
        known_T = np.isin(dates, self.dates)
        code_of = {name: code for code, name in enumerate(instruments)}
        place_N = np.array([code_of.get(name, -1) for name in self.instruments])
        here_N = np.flatnonzero(place_N >= 0)
        before = int((self.dates < dates[0]).sum())
        last, first = self.last.astype("datetime64[D]"), dates[0].astype("datetime64[D]")
        if before == len(self.dates) and np.busday_count(last + 1, first) > 0:
            return known_T
        for at, date in enumerate(self.dates):
            code = at - before if at < before else int(np.searchsorted(dates, date))
            if code < -memory.reach or (code >= 0 and not (code < len(dates) and dates[code] == date)):
                continue
            code_B = torch.full((len(here_N),), code)
            memory.write(torch.from_numpy(place_N[here_N]), code_B, self.loss_NTK[torch.from_numpy(here_N), at])
        return known_T
