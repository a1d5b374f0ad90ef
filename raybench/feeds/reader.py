"""From the samples of a segment to what a network is called with."""

from __future__ import annotations

import torch
from torch import Tensor

from raybench.feeds.memory import LossMemory
from raybench.models.interface.inputs import Inputs
from raybench.panel import Segment
from raybench.panel.windows import WindowSource
from raybench.storage.arrays import as_tensor


class SampleReader:
    """Reads samples of a segment, by their positions, on the device where the segment's rows lie.

    ``memory``: what a network remembers of its losses, for one that is given them.
    """

    def __init__(self, segment: Segment, device: torch.device | str, memory: LossMemory | None = None) -> None:
        samples = segment.samples
        self._source = segment.source.to(device)
        self._row_S = as_tensor(samples.row_S).to(device)
        self._memberships = None if segment.memberships is None else segment.memberships.to(device)
        self._memory = memory
        if self._memberships is not None or memory is not None:
            self._instrument_S = as_tensor(samples.instrument_S).to(device)
            self._date_S = as_tensor(samples.date_S).to(device)
        self._second = None if segment.second is None else segment.second.to(device)
        if self._second is not None:
            assert samples.second_row_S is not None, "a segment with a second source has its rows"
            self._second_row_S = as_tensor(samples.second_row_S).to(device)
            self._stand_in = int(samples.second_row_S.max(initial=0)) if (samples.second_row_S < 0).any() else None

    def __len__(self) -> int:
        return len(self._row_S)

    def read(self, take_B: Tensor | slice, sizes: tuple[int, ...] | None = None) -> Inputs:
        """Gather the samples at ``take_B``; ``sizes`` says that they are whole dates, see ``Inputs``."""
        named: dict[str, Tensor] = {}
        if self._memberships is not None:
            named["concepts"] = self._memberships.rows(self._instrument_S[take_B], self._date_S[take_B])
        if self._memory is not None:
            named |= self._memory.inputs(self._instrument_S[take_B], self._date_S[take_B])
        if self._second is not None:
            named["second"] = self._second_windows(self._second, self._second_row_S[take_B])
        return Inputs(x_BWF=self._source.gather(self._row_S[take_B]), sizes=sizes, named=named)

    def _second_windows(self, source: WindowSource, row_B: Tensor) -> Tensor:
        """Gather second windows [B, V, G]; zeros where there is none."""
        if self._stand_in is None:
            return source.gather(row_B)
        missing_B = row_B < 0
        return source.gather(row_B.masked_fill(missing_B, self._stand_in)).masked_fill_(missing_B[:, None, None], 0.0)
