"""Windows over a table of processed rows: x_BWF from feature_RF and a `WindowGrid`.

A row that is missing inside the window (a gap in the membership, a date before the first row) is
filled forward, then backward, from rows inside the window. NaN inside a row stays NaN: that is for
the processors.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np
import numpy.typing as npt
import torch

from raybench.panel.windows.grid import WindowGrid
from raybench.storage.arrays import Arrays, Mover, Spec, as_array, as_tensor, total_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class RowWindows:
    """The source for Alpha158 and feature tables. Row ids are rows of ``feature_RF``.

    slot_R, first_R, regular_R, last_P: see `WindowGrid`.

    >>> from raybench.panel.windows.grid import window_grid
    >>> grid = window_grid(np.zeros(3, np.int32), np.arange(3, dtype=np.int32), step_len=2)
    >>> source = RowWindows.build(np.array([[1, 10], [2, np.nan], [3, 30]], np.float32), grid, step_len=2)
    >>> source.gather(torch.tensor([0, 2])).tolist()  # [B, W, F]; before the first row is the first row, NaN stays
    [[[1.0, 10.0], [1.0, 10.0]], [[2.0, nan], [3.0, 30.0]]]
    """

    feature_RF: torch.Tensor
    slot_R: torch.Tensor
    first_R: torch.Tensor
    regular_R: torch.Tensor
    last_P: torch.Tensor
    offset_W: torch.Tensor

    @classmethod
    def build(cls, feature_RF: npt.NDArray[np.float32], grid: WindowGrid, step_len: int) -> Self:
        """Put rows and their index together, without a copy."""
        return cls._from(
            step_len,
            feature_RF=as_tensor(feature_RF),
            slot_R=as_tensor(grid.slot_R),
            first_R=as_tensor(grid.first_R),
            regular_R=as_tensor(grid.regular_R),
            last_P=as_tensor(grid.last_P),
        )

    @classmethod
    def _from(cls, step_len: int, **tensors: torch.Tensor) -> Self:
        return cls(**tensors, offset_W=torch.arange(1 - step_len, 1, dtype=torch.int32))

    @property
    def num_features(self) -> int:
        return self.feature_RF.shape[1]

    @property
    def step_len(self) -> int:
        return len(self.offset_W)

    @property
    def nbytes(self) -> int:
        return total_bytes(self.arrays())

    def gather(self, row_B: torch.Tensor) -> torch.Tensor:
        """Windows x_BWF of rows of the grid."""
        if self.feature_RF.is_cpu and len(self.feature_RF) >= self.step_len:
            return self._gather_strided(row_B)
        return self._gather_rows(row_B)

    def _gather_rows(self, row_B: torch.Tensor) -> torch.Tensor:
        slot_BW = self.slot_R[row_B].unsqueeze(1) + self.offset_W
        last_BW = self.last_P.index_select(0, slot_BW.flatten()).view(slot_BW.shape)
        row_BW = torch.maximum(last_BW, self.first_R[row_B].unsqueeze(1))
        return self.feature_RF.index_select(0, row_BW.flatten()).view(*row_BW.shape, self.num_features)

    def _gather_strided(self, row_B: torch.Tensor) -> torch.Tensor:
        """Copy whole windows where the W rows simply follow each other, then mend the others.

        Not for an accelerator: to find the others it would have to wait for the device.
        """
        width, steps = self.num_features, self.step_len
        windows = self.feature_RF.as_strided((len(self.feature_RF) - steps + 1, steps * width), (width, 1))
        x_BWF = windows.index_select(0, (row_B - (steps - 1)).clamp_(min=0)).view(-1, steps, width)
        others = torch.nonzero(~self.regular_R[row_B]).squeeze(1)
        if len(others):
            x_BWF.index_copy_(0, others, self._gather_rows(row_B[others]))
        return x_BWF

    def to(self, device: torch.device | str | Mover) -> Self:
        move = Mover.of(device)
        return replace(self, **{f.name: move(getattr(self, f.name)) for f in fields(self)})

    def spec(self) -> Spec:
        return {"kind": "rows", "step_len": self.step_len}

    def arrays(self) -> Arrays:
        return {f.name: as_array(getattr(self, f.name)) for f in fields(self) if f.name != "offset_W"}

    @classmethod
    def from_arrays(cls, spec: Spec, arrays: Arrays) -> Self:
        """The inverse of `spec` and `arrays`."""
        return cls._from(spec["step_len"], **{name: as_tensor(array) for name, array in arrays.items()})
