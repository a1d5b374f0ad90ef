"""A network and cross-sections made up for tests: a subject without a run or a panel behind it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from raybench.explanation.subject import CrossSection, Subject
from raybench.models.interface.inputs import Inputs


class MadeUp(Subject):
    """Explains a network on the sections it is given."""

    def __init__(self, network: nn.Module, features: Sequence[str], sections: Sequence[CrossSection]) -> None:
        self.network = network.eval()
        self.features = tuple(features)
        self._sections = sections

    @property
    def step_len(self) -> int:
        return self._sections[0].inputs.x_BWF.shape[1]

    def cross_sections(self, start: np.datetime64, stop: np.datetime64) -> Iterator[CrossSection]:
        return (section for section in self._sections if start <= section.moment < stop)


class Planted(nn.Module):
    """Scores by one number of the window and, a tenth as much, by another; F features."""

    strong, weak = (2, 1), (0, 3)  # (feature, lag)

    def forward(self, x: Tensor) -> Tensor:
        parts = [x[:, x.shape[1] - 1 - lag, feature] for feature, lag in (self.strong, self.weak)]
        return parts[0] + 0.1 * parts[1]


def section(day: str, *, samples: int = 40, steps: int = 5, features: int = 4, seed: int = 0) -> CrossSection:
    """Random windows of one date; labels are what ``Planted`` says of them (if they are long enough), with noise."""
    generator = torch.Generator().manual_seed(seed)
    x_NWF = torch.randn(samples, steps, features, generator=generator)
    label_N = 0.3 * torch.randn(samples, generator=generator) + (Planted()(x_NWF) if steps > 3 else 0.0)
    return CrossSection(
        moment=np.datetime64(day, "us"),
        instrument_N=np.array([f"I{n:03d}" for n in range(samples)]),
        inputs=Inputs(x_BWF=x_NWF),
        label_N=label_N.double().numpy(),
    )
