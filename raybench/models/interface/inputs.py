"""What a network is called with: windows, where dates end among them, and whatever else it asks for by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """B samples: windows [B, W, F] and further tensors [B, ...] by the name of the network's argument.

    ``sizes``: the samples are one date after the other, this many of each; None where dates do not matter.
    """

    x_BWF: Tensor
    sizes: tuple[int, ...] | None = None
    named: Mapping[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.x_BWF)

    def call(self, network: nn.Module, dtype: torch.dtype | None = None) -> Tensor:
        """Return what the network makes of them (the score [B] in evaluation mode), in ``dtype`` if given."""
        x_BWF = self.x_BWF if dtype is None else self.x_BWF.to(dtype)
        named = {name: value.to(dtype) if value.is_floating_point() else value for name, value in self.named.items()}
        made: Tensor = network(x_BWF, **named) if self.sizes is None else network(x_BWF, self.sizes, **named)
        return made

    def take(self, rows: slice, sizes: tuple[int, ...] | None = None) -> Inputs:
        """Return some of the samples; ``sizes`` says which dates they are."""
        named = {name: value[rows] for name, value in self.named.items()}
        return Inputs(x_BWF=self.x_BWF[rows], sizes=sizes, named=named)


def extra_inputs(network: nn.Module) -> Mapping[str, tuple[int | None, ...]]:
    """Say what a network is given beside windows: by the name of its argument, the shape behind N (None: any size)."""
    shapes: Mapping[str, tuple[int | None, ...]] = getattr(network, "extra_inputs", {})
    return shapes
