"""What every source of windows offers, and how its arrays become tensors again in another process.

A window source holds compact rows and turns row ids into windows: ``gather(row_B) -> x_BWF``. Row
ids are the source's own (``Samples.row_S``). Windows exist only for the batch at hand; nothing here
stores one. NaN: a source gives what its rows hold; what a missing row becomes is said in the module
of each source.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, Protocol, Self

import numpy.typing as npt
import torch

Arrays = dict[str, npt.NDArray[Any]]
Spec = dict[str, Any]


class Mover:
    """Brings tensors to a device; what is the same memory seen in the same way is one tensor there too."""

    def __init__(self, device: torch.device | str) -> None:
        self.device = device
        # the originals are kept along, so that no other tensor gets their address
        self._there: dict[tuple[Any, ...], tuple[torch.Tensor, torch.Tensor]] = {}

    @classmethod
    def of(cls, device: torch.device | str | Mover) -> Mover:
        """The mover itself, or a new one."""
        return device if isinstance(device, Mover) else cls(device)

    def __call__(self, tensor: torch.Tensor) -> torch.Tensor:
        key = (tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), tensor.dtype, tensor.device)
        if key not in self._there:
            self._there[key] = (tensor, tensor.to(self.device))
        return self._there[key][1]


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


def as_tensor(array: npt.NDArray[Any]) -> torch.Tensor:
    """A tensor over the array's own memory, also when that is read-only (the object store's is): nobody writes."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)


def as_array(tensor: torch.Tensor) -> npt.NDArray[Any]:
    """The array of a tensor, without a copy where it is on the CPU."""
    array: npt.NDArray[Any] = tensor.detach().cpu().numpy()
    return array


def total_bytes(arrays: Mapping[str, npt.NDArray[Any]]) -> int:
    """Bytes of arrays, each buffer counted once."""
    return sum({a.__array_interface__["data"][0]: a.nbytes for a in arrays.values()}.values())
