"""What values drawn by a search make of a configuration, and which of them a search may draw.

A configuration is a tree of plain values here (``Config.model_dump``), values are by dotted key.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from raybench.config.networks import NETWORKS
from raybench.config.tune import AnyDistribution, Networks, TuneConfig

TYPE = "model.type"
MOST_VALUES = 1_000  # of a key that are tried
MOST_COMBINATIONS = 500  # of values that are tried
SEARCHED = ("data", "model", "train", "recipe")
OTHER_DATA = ("data.label", "data.segments", "data.universe", "data.embargo", "data.bars", "data.features")
"""Keys with which trials are no longer compared on the same validation data."""
MUTABLE = ("train.lr", "train.weight_decay", "train.momentum", "train.batch_size", "train.dates_per_batch")
"""What can change while a network trains, beside clipping of gradients and any dropout."""

Values = Mapping[str, Any]
Problem = tuple[tuple[str, ...], str, Any]
WrongWith = Callable[[Mapping[str, Any]], str]
Space = Mapping[str, AnyDistribution]


def with_values(tree: Mapping[str, Any], values: Values) -> dict[str, Any]:
    """Return a configuration with the values of a trial; KeyError names what cannot be entered.

    A network other than that of the configuration starts from its own defaults. Where the type is searched, keys that
    the drawn one lacks are left out.
    """
    tree = dict(tree)
    kind = values.get(TYPE)
    if kind is not None and kind != tree["model"].get("type"):
        tree["model"] = {"type": kind}
    for key in sorted(values, key=lambda key: key.count(".")):  # a whole part before keys in it
        if key != TYPE and not (kind is not None and lacks(kind, key)):
            tree = with_value(tree, key.split("."), values[key])
    return tree


def lacks(network: object, key: str) -> bool:
    """Tell whether a key of ``model`` is none of this network; one's own may have any."""
    part, _, name = key.partition(".")
    fields = NETWORKS.get(str(network))
    return part == "model" and fields is not None and name.partition(".")[0] not in fields.model_fields


def with_value(tree: Mapping[str, Any], path: Sequence[str], value: object) -> dict[str, Any]:
    """Copy a tree of mappings and lists with one value set; KeyError names what cannot be entered."""
    head, *rest = path
    if not rest:
        return {**tree, head: value}
    inner = tree.get(head)
    if inner is None:
        inner = {}
    if isinstance(inner, (list, tuple)) and rest[0].isdigit() and int(rest[0]) < len(inner):
        at, *below = rest
        old = inner[int(at)]
        new = with_value({at: old}, [at, *below], value)[at]
        return {**tree, head: [new if i == int(at) else item for i, item in enumerate(inner)]}
    if isinstance(inner, (list, tuple)):
        raise KeyError(f"{head} is a list of {len(inner)}, entered by a number, not {rest[0]!r}")
    if not isinstance(inner, Mapping):
        raise KeyError(f"{head} is not a mapping, so it has no key {rest[0]!r}")
    return {**tree, head: with_value(inner, rest, value)}


def branches(space: Space) -> list[tuple[Values, Space]]:
    """Split a space by network where each has keys of its own: what is fixed, and what is drawn with it."""
    networks = space.get(TYPE)
    if not isinstance(networks, Networks):
        return [({}, space)]
    shared = {key: each for key, each in space.items() if key != TYPE}
    return [({TYPE: name}, {**shared, **keys}) for name, keys in networks.choice.items()]


def most_epochs(space: Space, otherwise: int) -> int:
    """The most epochs that a trial may have; ``otherwise``: where train.max_epochs is not searched."""
    return max(_epochs(keys, otherwise) for _, keys in branches(space))


def _epochs(keys: Space, otherwise: int) -> int:
    if "train.max_epochs" in keys:
        return int(max(keys["train.max_epochs"].extremes))
    parts = keys["train"].extremes if "train" in keys else ()
    return max((int(part.get("max_epochs", otherwise)) for part in parts), default=otherwise)


def tried(distribution: AnyDistribution) -> Sequence[Any]:
    """Values that stand for all that a key may have: each that can be counted, or else the ends.

    Of more than ``MOST_VALUES`` the ends and others drawn at random, the same each time.
    """
    values = distribution.values
    if values is None:
        return distribution.extremes
    if len(values) <= MOST_VALUES:
        return values
    return *distribution.extremes, *random.Random(0).sample(values, MOST_VALUES - len(distribution.extremes))


def combinations(space: Space) -> Iterator[Values]:
    """What trials may draw together: all of it where that is not more than ``MOST_COMBINATIONS``.

    Else all pairs of values of two keys, as many as that, each with values of the other keys drawn at random; what is
    drawn is the same each time.
    """
    for fixed, keys in branches(space):
        values = [tried(each) for each in keys.values()]
        whole = math.prod(map(len, values)) <= MOST_COMBINATIONS
        for chosen in itertools.product(*values) if whole else _pairs(values):
            yield {**fixed, **dict(zip(keys, chosen, strict=True))}


def _pairs(values: Sequence[Sequence[Any]]) -> Iterator[Sequence[Any]]:
    draw = random.Random(0)
    keys = list(itertools.combinations(range(len(values)), 2))
    sizes = [len(values[i]) * len(values[j]) for i, j in keys]
    count = sum(sizes)
    for number in range(count) if count <= MOST_COMBINATIONS else draw.sample(range(count), MOST_COMBINATIONS):
        at, of = number, 0
        while at >= sizes[of]:
            at, of = at - sizes[of], of + 1
        i, j = keys[of]
        chosen = [draw.choice(each) for each in values]
        chosen[i], chosen[j] = values[i][at // len(values[j])], values[j][at % len(values[j])]
        yield chosen


def problems(tune: TuneConfig, tree: Mapping[str, Any], wrong_with: WrongWith) -> list[Problem]:
    """Say what is wrong with a space, each with its place and what was given.

    ``wrong_with`` tells what is wrong with a configuration, empty if it is valid. Each key is tried alone, with every
    value that can be counted; only if all are right, combinations of them.
    """
    space = tune.space or {}
    found: list[Problem] = []
    for key, distribution in space.items():
        found += _alone(("tune", "space", key), key, distribution, space, tree, wrong_with)
        if isinstance(distribution, Networks):
            for name, keys in distribution.choice.items():
                for sub, each in keys.items():
                    place = ("tune", "space", key, "choice", name, sub)
                    found += _alone(place, sub, each, {TYPE: Networks(choice={name: {}})}, tree, wrong_with)
    if tune.scheduler.type == "pbt":
        found += [_immutable(key) for key in space if not mutable(key)]
    if not found:
        for values in combinations(space):
            text = _wrong(values, tree, wrong_with)
            if text:
                shown = ", ".join(f"{key}={value!r}" for key, value in values.items())
                return [(("tune", "space"), f"may draw {shown}: {text}", None)]
    return found


def mutable(key: str) -> bool:
    """Tell whether a key can change while a network trains."""
    return key in MUTABLE or key.startswith("train.grad_clip_") or (key.startswith("model.") and "dropout" in key)


def changes_data(key: str) -> bool:
    """Tell whether trials with other values of a key read another panel."""
    return key.partition(".")[0] in ("data", "recipe") or key.startswith("train.sample_weight")


def _immutable(key: str) -> Problem:
    text = f"cannot change while a network trains, as scheduler pbt does; it changes {', '.join(MUTABLE)} and dropout"
    return ("tune", "space", key), text, None


def _alone(
    place: tuple[str, ...],
    key: str,
    distribution: AnyDistribution,
    space: Space,
    tree: Mapping[str, Any],
    wrong_with: WrongWith,
) -> list[Problem]:
    if key.partition(".")[0] not in SEARCHED:
        return [(place, f"is not searched; want keys of {', '.join(SEARCHED[:-1])}, or recipe", None)]
    if isinstance(distribution, Networks) and key != TYPE:
        return [(place, f"a choice of networks with keys of their own is for {TYPE}; want a list", None)]
    types = space[TYPE].extremes if TYPE in space and key != TYPE else (None,)
    having = [kind for kind in types if kind is None or not lacks(kind, key)]
    if not having:
        return [(place, f"is a key of none of the networks searched ({', '.join(map(str, types))})", None)]
    for kind in having:
        for value in tried(distribution):
            values = {key: value} if kind is None else {TYPE: kind, key: value}
            text = _wrong(values, tree, wrong_with)
            if text:
                return [(place, text if text.startswith("is no key") else f"cannot be {value!r}: {text}", value)]
    return []


def _wrong(values: Values, tree: Mapping[str, Any], wrong_with: WrongWith) -> str:
    try:
        return wrong_with(with_values(tree, values))
    except KeyError as missing:
        return f"is no key of the configuration ({missing.args[0]})"
