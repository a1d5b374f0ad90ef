"""What autograd keeps for the way back."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def kept_for_backward(forward: Callable[[], object]) -> dict[int, int]:
    """Bytes of each storage that ``forward`` leaves for the gradients, by its address."""
    sizes: dict[int, int] = {}

    def keep(value: Tensor) -> Tensor:
        sizes[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
        return value

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
        made = forward()
    del made
    return sizes
