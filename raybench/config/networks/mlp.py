"""The feed-forward network: mlp."""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar, Literal

from pydantic import Field

from raybench.config.common.strict import Share, Units
from raybench.config.networks.network import ModelConfig, linear


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
