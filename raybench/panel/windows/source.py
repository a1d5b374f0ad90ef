"""What every source of windows offers.

A window source holds compact rows and turns row ids into windows: ``gather(row_B) -> x_BWF``. Row
ids are the source's own (``Samples.row_S``). Windows exist only for the batch at hand; nothing here
stores one. NaN: a source gives what its rows hold; what a missing row becomes is said in the module
of each source.
"""

from __future__ import annotations

from typing import Protocol, Self

import torch

from raybench.storage.arrays import Arrays, Mover, Spec


class WindowSource(Protocol):
    """Rows that can be seen as windows of ``step_len`` steps and ``num_features`` features."""

    @property
    def num_features(self) -> int: ...

    @property
    def step_len(self) -> int: ...

    @property
    def nbytes(self) -> int:
        """Bytes of everything held."""
        ...

    def gather(self, row_B: torch.Tensor) -> torch.Tensor:
        """Windows x_BWF, float32, oldest step first, of the rows ``row_B`` (integers on the same device)."""
        ...

    def to(self, device: torch.device | str | Mover) -> Self:
        """The same source with its tensors on ``device``; a `Mover` shares those that sources have in common."""
        ...

    def spec(self) -> Spec:
        """What is not an array; with `arrays` it makes the source again (`windows.from_arrays`)."""
        ...

    def arrays(self) -> Arrays:
        """The arrays by name, sharing memory with the tensors where those are on the CPU."""
        ...
