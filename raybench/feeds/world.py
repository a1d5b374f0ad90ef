"""The group of processes that train one model together, as the loop sees it.

``SOLO`` is a group of one and needs no process group; :class:`ProcessGroup` speaks through
``torch.distributed`` (gloo or NCCL), whoever has set that up: Ray Train, torchrun or a test.
"""

from __future__ import annotations

from typing import Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn


class World(Protocol):
    """Rank and size of the group, and the three things that its members tell each other."""

    @property
    def rank(self) -> int: ...

    @property
    def size(self) -> int: ...

    def wrap(self, model: nn.Module) -> nn.Module:
        """Return a module whose backward pass averages gradients over the group."""
        ...

    def sum(self, value: Tensor) -> Tensor:
        """Add ``value`` up over the group; every member gets the sum."""
        ...

    def gather(self, value: Tensor) -> Tensor:
        """Concatenate 1-d tensors of any length over the group in rank order; every member gets all."""
        ...


class _Solo:
    rank = 0
    size = 1

    def wrap(self, model: nn.Module) -> nn.Module:
        return model

    def sum(self, value: Tensor) -> Tensor:
        return value

    def gather(self, value: Tensor) -> Tensor:
        return value


SOLO: World = _Solo()


class ProcessGroup:
    """The default ``torch.distributed`` process group."""

    def __init__(self, device: torch.device) -> None:
        self.rank = dist.get_rank()
        self.size = dist.get_world_size()
        self._device = device

    def wrap(self, model: nn.Module) -> nn.Module:
        """Wrap in DistributedDataParallel; a group of one needs none.

        Every worker keeps its own batch-norm statistics for an epoch; the loop averages them at its end.
        """
        if self.size == 1 or not any(parameter.requires_grad for parameter in model.parameters()):
            return model
        ids = [self._device.index or 0] if self._device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(
            model, device_ids=ids, broadcast_buffers=False, gradient_as_bucket_view=True
        )

    def sum(self, value: Tensor) -> Tensor:
        """Add up on the group's device and return it where ``value`` was."""
        if self.size == 1:
            return value
        total = value.detach().clone().to(self._device)
        dist.all_reduce(total)
        return total.to(value.device)

    def gather(self, value: Tensor) -> Tensor:
        """Pad to the longest, gather, cut: gloo gathers equal shapes only."""
        if self.size == 1:
            return value
        local = value.detach().to(self._device)
        length = torch.tensor([len(local)], device=self._device)
        lengths = [torch.zeros_like(length) for _ in range(self.size)]
        dist.all_gather(lengths, length)
        longest = max(int(n) for n in lengths)
        padded = torch.zeros(longest, dtype=local.dtype, device=self._device)
        padded[: len(local)] = local
        parts = [torch.empty_like(padded) for _ in range(self.size)]
        dist.all_gather(parts, padded)
        return torch.cat([part[: int(n)] for part, n in zip(parts, lengths, strict=True)]).to(value.device)
