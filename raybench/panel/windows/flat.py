"""Windows that lie ready in the rows of a wide table: Alpha360 with 6 x W columns.

Columns are a field's lags, oldest first, then the next field's, as Qlib writes them. The table may be a
mapped file. NaN stays NaN.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt
import torch

from raybench.storage.arrays import Arrays, Mover, Spec, as_array, as_tensor, total_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class FlatWindows:
    """The source for wide tables; row ids are its rows, and a window is a transposed view of one.

    >>> source = FlatWindows.build(np.array([[1, 2, 3, 10, 20, np.nan]], np.float32), step_len=3)
    >>> source.gather(torch.tensor([0])).tolist()  # two features, three lags each: [B, W, F]
    [[[1.0, 10.0], [2.0, 20.0], [3.0, nan]]]
    """

    feature_RC: torch.Tensor
    step_len: int

    @classmethod
    def build(cls, feature_RC: npt.NDArray[np.float32], step_len: int) -> Self:
        """Put a source over a table, without a copy."""
        return cls(feature_RC=as_tensor(feature_RC), step_len=step_len)

    @property
    def num_features(self) -> int:
        return self.feature_RC.shape[1] // self.step_len

    @property
    def nbytes(self) -> int:
        return total_bytes(self.arrays())

    def gather(self, row_B: torch.Tensor) -> torch.Tensor:
        """Windows x_BWF of rows of the table."""
        flat_BC = self.feature_RC.index_select(0, row_B)
        return flat_BC.view(-1, self.num_features, self.step_len).transpose(1, 2)

    def to(self, device: torch.device | str | Mover) -> Self:
        return replace(self, feature_RC=Mover.of(device)(self.feature_RC))

    def spec(self) -> Spec:
        return {"kind": "flat", "step_len": self.step_len}

    def arrays(self) -> Arrays:
        return {"feature_RC": as_array(self.feature_RC)}

    @classmethod
    def from_arrays(cls, spec: Spec, arrays: Arrays) -> Self:
        """The inverse of `spec` and `arrays`."""
        return cls.build(arrays["feature_RC"], spec["step_len"])
