"""The feed-forward network: mlp."""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar, Literal

from pydantic import Field

from raybench.config.networks.network import ModelConfig, linear
from raybench.config.strict import Share, Units


class MLP(ModelConfig):
    """Fully connected layers over the whole window, each with batch normalisation.

    ``dropout`` is of the input and of the last layer; Qlib's is fixed at its default here.
    """

    needs: ClassVar[str] = "windows (step_len 1: a row); batches of random rows"

    type: Literal["mlp"] = "mlp"
    layers: tuple[Units, ...] = Field(default=(256,), strict=False, max_length=1_000)
    act: Literal["LeakyReLU", "SiLU"] = "LeakyReLU"
    dropout: Share = 0.05

    def parameter_count(self, num_features: int, step_len: int) -> int:
        widths = (num_features * step_len, *self.layers)
        # batch normalisation scales and shifts each unit
        hidden = sum(linear(inputs, units) + 2 * units for inputs, units in pairwise(widths))
        return hidden + linear(widths[-1], 1)

    def floats_per_sample(self, num_features: int, step_len: int) -> int:
        widths = (num_features * step_len, *self.layers)
        # each layer keeps its sum, its normalised and its active units; dropout its result
        return widths[0] + widths[-1] + 3 * sum(self.layers)
