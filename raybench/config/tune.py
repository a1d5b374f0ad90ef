"""The ``tune`` part of a configuration: what is searched, how, and when a trial is given up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SerializeAsAny, field_validator, model_validator

from raybench.config.strict import Count, Part, by_type, problem, problem_at, show


class Choice(Part):
    """One of the values given."""

    choice: tuple[Any, ...] = Field(strict=False, min_length=1)

    @property
    def extremes(self) -> tuple[Any, ...]:
        """Values that must all be valid for the key."""
        return self.choice


class _Interval(Part):
    @property
    def extremes(self) -> tuple[Any, ...]:
        """Values that must all be valid for the key."""
        return tuple(next(iter(self.model_dump().values())))

    @model_validator(mode="after")
    def _forward(self) -> _Interval:
        low, high = self.extremes
        if low >= high:
            raise problem(f"want [low, high], got [{low}, {high}]")
        return self


Pair = Annotated[tuple[float, float], Field(strict=False)]


class Uniform(_Interval):
    """A number between two."""

    uniform: Pair


class LogUniform(_Interval):
    """A number between two, even on a logarithmic scale."""

    loguniform: Pair

    @model_validator(mode="after")
    def _positive(self) -> LogUniform:
        if self.loguniform[0] <= 0.0:
            raise problem(f"a logarithmic scale starts above 0, got {self.loguniform[0]}")
        return self


class RandInt(_Interval):
    """A whole number between two, both included."""

    randint: Annotated[tuple[int, int], Field(strict=False)]


DISTRIBUTIONS: Mapping[str, type[Part]] = {
    "choice": Choice,
    "uniform": Uniform,
    "loguniform": LogUniform,
    "randint": RandInt,
}


def parse_distribution(value: Any) -> Any:
    """Read ``{choice: [...]}`` and its like."""
    if isinstance(value, Part):
        return value
    if not isinstance(value, Mapping) or len(value) != 1:
        known = ", ".join(DISTRIBUTIONS)
        raise problem(f"want one of {known}, such as {{choice: [16, 32]}}, got {show(value)}")
    (kind,) = value
    if kind not in DISTRIBUTIONS:
        raise problem_at(str(kind), text=f"unknown distribution; known: {', '.join(DISTRIBUTIONS)}")
    return DISTRIBUTIONS[kind].model_validate(value)


Distribution = Annotated[SerializeAsAny[Choice | Uniform | LogUniform | RandInt], BeforeValidator(parse_distribution)]

DEFAULT_SPACE: Mapping[str, Choice | Uniform | LogUniform | RandInt] = {
    "model.hidden_size": Choice(choice=(16, 32, 64)),
    "model.dropout": Uniform(uniform=(0.0, 0.5)),
    "train.lr": LogUniform(loguniform=(1e-4, 1e-2)),
}
"""Searched where no space is given, as far as the network has these keys."""


class Asha(Part):
    """Successive halving: the worse trials stop early."""

    type: Literal["asha"] = "asha"
    grace_period: Count = 1
    reduction_factor: int = Field(default=2, ge=2)


class Fifo(Part):
    """Every trial runs to its end."""

    type: Literal["fifo"] = "fifo"


class RandomSearch(Part):
    """Draw each trial at random."""

    type: Literal["random"] = "random"
    seed: int = 0


SCHEDULERS: Mapping[str, type[Part]] = {"asha": Asha, "fifo": Fifo}
SEARCHES: Mapping[str, type[Part]] = {"random": RandomSearch}


class TuneConfig(Part):
    """A search over keys of the configuration."""

    num_samples: Count = 8
    metric: Literal["loss", "ic", "rank_ic"] = "rank_ic"
    mode: Literal["min", "max"] = "max"
    scheduler: Annotated[SerializeAsAny[Asha | Fifo], BeforeValidator(by_type(SCHEDULERS))] = Asha()
    search: Annotated[SerializeAsAny[RandomSearch], BeforeValidator(by_type(SEARCHES))] = RandomSearch()
    space: dict[str, Distribution] | None = None

    @field_validator("space", mode="before")
    @classmethod
    def _has_keys(cls, value: Any) -> Any:
        if isinstance(value, Mapping) and not value:
            raise problem("has no keys; leave it out for the default, or name some such as train.lr")
        return value

    @model_validator(mode="after")
    def _right_way(self) -> TuneConfig:
        if (self.metric == "loss") != (self.mode == "min"):
            wanted = "min" if self.metric == "loss" else "max"
            raise problem_at("mode", text=f"metric {self.metric} wants mode {wanted}")
        return self
