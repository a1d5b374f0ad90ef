"""The ``tune`` part of a configuration: what is searched, how, and when a trial is given up.

What the values drawn make of a configuration, and whether it is valid, is ``config.search_space``'s.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SerializeAsAny, field_validator, model_validator

from raybench.config.common.strict import ConfigPart, Count, NonNegative, by_type, problem, problem_at, show

MOST_STEPS = 100_000  # of a quniform


class Choice(ConfigPart):
    """One of the values given."""

    choice: tuple[Any, ...] = Field(strict=False, min_length=1)

    @property
    def extremes(self) -> tuple[Any, ...]:
        """Values that must all be valid for the key."""
        return self.choice

    @property
    def values(self) -> tuple[Any, ...]:
        """All that can be drawn."""
        return self.choice


class Grid(ConfigPart):
    """Each of the values given, with each of every other key's."""

    grid: tuple[Any, ...] = Field(strict=False, min_length=1)

    @property
    def extremes(self) -> tuple[Any, ...]:
        """Values that must all be valid for the key."""
        return self.grid

    @property
    def values(self) -> tuple[Any, ...]:
        """All that can be drawn."""
        return self.grid


class _Interval(ConfigPart):
    @property
    def extremes(self) -> tuple[Any, ...]:
        """Values that must all be valid for the key."""
        return tuple(next(iter(self.model_dump().values())))

    @property
    def values(self) -> tuple[Any, ...] | None:
        """All that can be drawn; None if they cannot be counted."""
        return None

    @model_validator(mode="after")
    def _forward(self) -> _Interval:
        low, high, *_ = next(iter(self.model_dump().values()))
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


class QUniform(_Interval):
    """``low``, ``low + step``, ... up to ``high``; whole numbers where all three are."""

    quniform: tuple[int, int, int] | tuple[float, float, float]

    @field_validator("quniform", mode="before")
    @classmethod
    def _whole_or_not(cls, value: Any) -> Any:
        if not isinstance(value, (list, tuple)) or len(value) != 3:
            raise problem(f"want [low, high, step], got {show(value)}")
        whole = all(type(each) is int for each in value)
        return tuple(value if whole else (float(each) if type(each) is int else each for each in value))

    @model_validator(mode="after")
    def _steps(self) -> QUniform:
        low, high, step = self.quniform
        if step <= 0 or step > high - low:
            raise problem(f"want [low, high, step] with a step above 0 and within {high - low:g}, got a step of {step}")
        if (high - low) / step > MOST_STEPS:
            raise problem(f"has {(high - low) / step:.0f} steps; want {MOST_STEPS:,} at most, or uniform")
        return self

    @property
    def values(self) -> tuple[Any, ...]:
        """All that can be drawn."""
        low, high, step = self.quniform
        count = int((high - low) / step + 1e-9)
        if isinstance(step, int):
            return tuple(low + k * step for k in range(count + 1))
        return tuple(round(low + k * step, 12) for k in range(count + 1))

    @property
    def extremes(self) -> tuple[Any, ...]:
        """Values that must all be valid for the key."""
        return self.values[0], self.values[-1]


class RandInt(_Interval):
    """A whole number between two, both included."""

    randint: Annotated[tuple[int, int], Field(strict=False)]

    @property
    def values(self) -> tuple[Any, ...] | None:
        """All that can be drawn; None if they are too many to be listed."""
        low, high = self.randint
        return tuple(range(low, high + 1)) if high - low < MOST_STEPS else None


class Networks(ConfigPart):
    """One of several networks, each with keys of its own to search: ``model.type: {choice: {gru: {...}, tcn: {...}}}``.

    A sub-key without a dot is one of the network: ``hidden_size`` is ``model.hidden_size``.
    """

    choice: dict[str, dict[str, Distribution]] = Field(min_length=1)

    @field_validator("choice", mode="before")
    @classmethod
    def _full_keys(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        return {
            name: {key if "." in str(key) else f"model.{key}": each for key, each in (keys or {}).items()}
            if isinstance(keys, Mapping) or keys is None
            else keys
            for name, keys in value.items()
        }

    @property
    def extremes(self) -> tuple[Any, ...]:
        """Values that must all be valid for the key."""
        return tuple(self.choice)

    @property
    def values(self) -> tuple[Any, ...]:
        """All that can be drawn."""
        return tuple(self.choice)


DISTRIBUTIONS: Mapping[str, type[ConfigPart]] = {
    "choice": Choice,
    "grid": Grid,
    "uniform": Uniform,
    "quniform": QUniform,
    "loguniform": LogUniform,
    "randint": RandInt,
}


def parse_distribution(value: Any) -> Any:
    """Read ``{choice: [...]}`` and its like."""
    if isinstance(value, ConfigPart):
        return value
    if not isinstance(value, Mapping) or len(value) != 1:
        known = ", ".join(DISTRIBUTIONS)
        raise problem(f"want one of {known}, such as {{choice: [16, 32]}}, got {show(value)}")
    (kind,) = value
    if kind not in DISTRIBUTIONS:
        raise problem_at(str(kind), text=f"unknown distribution; known: {', '.join(DISTRIBUTIONS)}")
    if kind == "choice" and isinstance(value["choice"], Mapping):
        return Networks.model_validate(value)
    return DISTRIBUTIONS[kind].model_validate(value)


AnyDistribution = Choice | Grid | Uniform | QUniform | LogUniform | RandInt | Networks
Distribution = Annotated[SerializeAsAny[AnyDistribution], BeforeValidator(parse_distribution)]
Networks.model_rebuild()

DEFAULT_SPACE: Mapping[str, AnyDistribution] = {
    "model.hidden_size": Choice(choice=(16, 32, 64)),
    "model.dropout": Uniform(uniform=(0.0, 0.5)),
    "train.lr": LogUniform(loguniform=(1e-4, 1e-2)),
}
"""Searched where no space is given, as far as the network has these keys."""


class Asha(ConfigPart):
    """Asynchronous successive halving: after ``grace_period`` epochs, and each ``reduction_factor`` times as many, a
    trial goes on if it is among the best 1/``reduction_factor`` of those that came so far."""

    type: Literal["asha"] = "asha"
    grace_period: Count = 1
    reduction_factor: int = Field(default=2, ge=2)


class Median(ConfigPart):
    """Stop a trial whose best value is worse than the median of the others' running means at that epoch."""

    type: Literal["median"] = "median"
    grace_period: Count = 1
    min_samples: int = Field(default=3, ge=1)


class HyperBand(ConfigPart):
    """Successive halving in brackets that wait for all of their trials: the same stops in every repetition."""

    type: Literal["hyperband"] = "hyperband"
    reduction_factor: int = Field(default=3, ge=2)


class Pbt(ConfigPart):
    """Population based training: every ``interval`` epochs, trials of the lowest ``quantile`` go on from a copy of one
    of the highest, with its values changed: by a fifth up or down, or drawn anew with ``resample`` probability."""

    type: Literal["pbt"] = "pbt"
    interval: Count = 1
    quantile: float = Field(default=0.25, gt=0.0, le=0.5)
    resample: float = Field(default=0.25, ge=0.0, le=1.0)


class Fifo(ConfigPart):
    """Every trial runs to its end."""

    type: Literal["fifo"] = "fifo"


class RandomSearch(ConfigPart):
    """Draw each trial at random."""

    type: Literal["random"] = "random"
    seed: int = Field(default=0, ge=0)


class GridSearch(ConfigPart):
    """Try every combination."""

    type: Literal["grid"] = "grid"
    seed: int = Field(default=0, ge=0)


class TpeSearch(ConfigPart):
    """Optuna's tree-structured Parzen estimator: the first ``startup`` trials at random, others where good ones were.

    Trials are proposed in rounds of as many as run side by side, so that a repetition on the same machine proposes the
    same.
    """

    type: Literal["tpe", "optuna"] = "tpe"
    seed: int = Field(default=0, ge=0)
    startup: Count = 10


SCHEDULERS: Mapping[str, type[ConfigPart]] = {
    "asha": Asha,
    "median": Median,
    "hyperband": HyperBand,
    "pbt": Pbt,
    "fifo": Fifo,
}
SEARCHES: Mapping[str, type[ConfigPart]] = {
    "random": RandomSearch,
    "grid": GridSearch,
    "tpe": TpeSearch,
    "optuna": TpeSearch,
}


def _is_single(value: Any) -> bool:
    return value is None or isinstance(value, (bool, int, float, str))


AnyScheduler = Asha | Median | HyperBand | Pbt | Fifo
AnySearch = RandomSearch | GridSearch | TpeSearch


class ResourcesPerTrial(ConfigPart):
    """What a trial of one worker takes: threads, and a share of a GPU; ``gpu`` None: by memory, none without a GPU."""

    cpu: Count = 1
    gpu: NonNegative | None = None


class TuneConfig(ConfigPart):
    """A search over keys of the configuration. ``max_concurrent`` None: as many trials as there are cores for."""

    num_samples: Count = 8
    metric: Literal["loss", "ic", "rank_ic"] = "rank_ic"
    mode: Literal["min", "max"] = "max"
    scheduler: Annotated[SerializeAsAny[AnyScheduler], BeforeValidator(by_type(SCHEDULERS))] = Asha()
    search: Annotated[SerializeAsAny[AnySearch], BeforeValidator(by_type(SEARCHES))] = RandomSearch()
    space: dict[str, Distribution] | None = None
    resources_per_trial: ResourcesPerTrial = ResourcesPerTrial()
    max_concurrent: Count | None = None

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

    @model_validator(mode="after")
    def _fits_search(self) -> TuneConfig:
        """Each way of searching takes the distributions that it can."""
        kind, scheduler = self.search.type, self.scheduler.type
        if kind == "grid" and self.space is None:
            raise problem_at("space", text="is required with search grid, such as {train.lr: {grid: [1e-4, 1e-3]}}")
        if scheduler == "pbt" and kind != "random":
            text = f"search {kind} proposes whole trials, but scheduler pbt changes trials while they run; want random"
            raise problem_at("search", "type", text=text)
        for key, distribution in self.flat_space():
            if kind == "grid" and (distribution.values is None or isinstance(distribution, RandInt | QUniform)):
                text = "search grid tries every combination, and this is a range; want grid or choice, or search random"
                raise problem_at("space", key, text=text)
            if kind in ("tpe", "optuna") and not all(map(_is_single, distribution.extremes)):
                text = f"search {kind} draws single values, and this has lists or mappings; want search random or grid"
                raise problem_at("space", key, text=text)
            if isinstance(distribution, Grid) and (kind in ("tpe", "optuna") or scheduler == "pbt"):
                who = "scheduler pbt" if scheduler == "pbt" else f"search {kind}"
                raise problem_at("space", key, text=f"{who} draws values and cannot go through a grid; want choice")
        return self

    def flat_space(self) -> Iterator[tuple[str, AnyDistribution]]:
        """Every key with a distribution, those below a network too."""
        for key, distribution in (self.space or {}).items():
            yield key, distribution
            if isinstance(distribution, Networks):
                for keys in distribution.choice.values():
                    yield from keys.items()
