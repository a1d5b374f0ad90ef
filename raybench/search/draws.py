"""The trials of a search that are known before it begins: drawn at random from a seed, or every combination.

The same configuration gives the same draws anywhere: nothing but Python's own generator is used.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raybench.config import Config, load_config
from raybench.config.search_space import TYPE, Space, Values, branches, changes_data, with_values
from raybench.config.tune import (
    AnyDistribution,
    Choice,
    Grid,
    LogUniform,
    Networks,
    QUniform,
    RandInt,
    Uniform,
)
from raybench.errors import ConfigError

MOST_TRIALS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """One trial: its number, and the values of the keys searched, by dotted key."""

    number: int
    values: Values


def draws(config: Config) -> list[Draw]:
    """Every trial of ``config.tune`` where they do not depend on what earlier ones came to (search random or grid).

    ConfigError if there are more than ``MOST_TRIALS``.
    """
    space, tune = config.search_space, config.tune
    if tune.search.type == "grid":
        found: Iterator[Values] = _grid(space)
        count = sum(math.prod(len(each.values or ()) for each in keys.values()) for _, keys in branches(space))
    else:
        grids = {key: each for key, each in space.items() if isinstance(each, Grid)}
        count = tune.num_samples * math.prod(len(each.grid) for each in grids.values())
        found = _random(space, tune.num_samples, random.Random(tune.search.seed))
    if count > MOST_TRIALS:
        raise ConfigError(
            f"tune.space and tune.num_samples give {count:,} trials, of which {MOST_TRIALS:,} are the most; want less"
        )
    return [Draw(number=number, values=values) for number, values in enumerate(found)]


def data_variants(config: Config) -> list[Draw]:
    """Trials that stand for all that may be proposed: each network searched, on each data.

    ConfigError where a key that changes the data has endless values: their panels are prepared beforehand.
    """
    space = config.search_space
    networks = space.get(TYPE)
    types: Sequence[Any] = [None] if networks is None else networks.extremes
    keys = dict(config.tune.flat_space()) or space
    data = {key: each for key, each in keys.items() if changes_data(key)}
    for key, each in data.items():
        if each.values is None:
            raise ConfigError(f"tune.space.{key} changes the data and has endless values; want choice or quniform")
    found = [
        {**({} if kind is None else {TYPE: kind}), **dict(zip(data, values, strict=True))}
        for kind in types
        for values in itertools.product(*(each.values or () for each in data.values()))
    ]
    return [Draw(number=number, values=values) for number, values in enumerate(found)]


def trial_config(config: Config, values: Values) -> Config:
    """The configuration of one trial; ConfigError if it is not valid as a whole."""
    tree = config.model_dump(by_alias=True, exclude={"tune"})
    try:
        return load_config(with_values(tree, values))
    except ConfigError as error:
        raise ConfigError(f"tune.space may draw {told(values)}: {str(error).partition(': ')[2]}") from None


def told(values: Mapping[str, Any]) -> str:
    """Values as a person writes them on a command line."""
    return ", ".join(f"{short_key(key)}={shown(value)}" for key, value in values.items())


def short_key(key: str) -> str:
    """A key without its part: model.hidden_size -> hidden_size; model.type stays what it is."""
    return key if key in (TYPE, "data", "model", "train") else key.partition(".")[2] or key


def shown(value: Any) -> str:
    """A value in few characters: four digits of a number."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _grid(space: Space) -> Iterator[Values]:
    for fixed, keys in branches(space):
        for values in itertools.product(*(each.values or () for each in keys.values())):
            yield {**fixed, **dict(zip(keys, values, strict=True))}


def _random(space: Space, samples: int, draw: random.Random) -> Iterator[Values]:
    grids = {key: each.grid for key, each in space.items() if isinstance(each, Grid)}
    for _ in range(samples):
        for fixed in itertools.product(*grids.values()):
            yield _drawn(space, draw, dict(zip(grids, fixed, strict=True)))


def _drawn(space: Space, draw: random.Random, given: Mapping[str, Any]) -> Values:
    values: dict[str, Any] = {}
    for key, distribution in space.items():
        values[key] = given[key] if key in given else value_of(distribution, draw)
        if isinstance(distribution, Networks):
            values |= {sub: value_of(each, draw) for sub, each in distribution.choice[values[key]].items()}
    return values


def value_of(distribution: AnyDistribution, draw: random.Random) -> Any:
    """Draw one value."""
    match distribution:
        case Uniform(uniform=(low, high)):
            return draw.uniform(low, high)
        case LogUniform(loguniform=(low, high)):
            return min(max(math.exp(draw.uniform(math.log(low), math.log(high))), low), high)
        case RandInt(randint=(first, last)):
            return draw.randint(first, last)
        case Choice() | Grid() | QUniform() | Networks():
            return draw.choice(distribution.values)
    raise AssertionError(distribution)
