"""TabNet: decision steps that each look at a few of the features."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from raybench.config.common.strict import Count, Share, Units, problem_at
from raybench.config.networks.network import ModelConfig, linear

AtLeastTwo = Annotated[int, Field(ge=2)]
NORM = 2  # scale and shift of each normalised unit


class TabNet(ModelConfig):
    """Sequential attention over features (Arik and Pfister 2021), the window as one flat row.

    ``n_d``, ``n_a``: units for the score and for the next step's attention. ``n_shared``, ``n_ind``: blocks of a
    feature transformer, shared by all steps and its own. ``n_steps``: times that features are looked at, the first
    time at all of them. ``relax``: how much a feature that was looked at still counts later. ``vbs``: samples of a
    virtual batch. ``ps``: share of the inputs hidden in pretraining, which has ``pretrain_n_epochs``.
    """

    type: Literal["tabnet"] = "tabnet"
    out_dim: Units = 64
    n_d: Units = 64
    n_a: Units = 64
    n_shared: int = Field(default=2, ge=0, le=1_000)
    n_ind: int = Field(default=2, ge=0, le=1_000)
    n_steps: Annotated[int, Field(ge=2, le=1_000)] = 5
    relax: float = Field(default=1.3, ge=1.0)
    vbs: AtLeastTwo = 2048
    ps: Share = 0.3
    pretrain: bool = True
    pretrain_n_epochs: Count = 50

    @model_validator(mode="after")
    def _has_blocks(self) -> TabNet:
        if self.n_shared + self.n_ind == 0:
            raise problem_at("n_ind", text="want at least 1 block in all, but n_shared is 0 too")
        return self

    def parameter_count(self, num_features: int, step_len: int) -> int:
        inputs, width = num_features * step_len, self.n_d + self.n_a
        blocks = self.n_shared + self.n_ind
        layers = [linear(width if block else inputs, 2 * width) for block in range(blocks)]
        shared, own = sum(layers[: self.n_shared]), sum(layers[self.n_shared :])
        transformers = self.n_steps * (own + blocks * NORM * 2 * width)
        attention = (self.n_steps - 1) * (linear(self.n_a, inputs) + NORM * inputs)
        return (
            shared + transformers + attention + NORM * inputs + linear(self.n_d, self.out_dim) + linear(self.out_dim, 1)
        )

    def quirks(self, feature_set: str) -> tuple[str, ...]:
        lines = [
            "the last layer keeps its random start: it is not trained",
            f"relax {self.relax:g} has no effect: no step knows what earlier ones looked at",
        ]
        if (self.n_d, self.n_a, self.n_shared, self.n_ind, self.n_steps) != (64, 64, 2, 2, 5):
            lines.append(
                "n_d, n_a, n_shared, n_ind and n_steps of the encoder are 64, 64, 2, 2 and 5 whatever they say"
            )
        if self.pretrain:
            lines.append("pretraining measures errors in the variance of what is given back, not of the features")
        return tuple(lines)
