"""Arrays and the tensors over them: without a copy in one process, and once per device.

What lives in another process is described by a ``Spec`` (no arrays) and ``Arrays`` by name; together they make it
again.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

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
