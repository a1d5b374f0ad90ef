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
MOST_CORNERS = 256  # combinations of extremes that are tried
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


def corners(space: Space) -> Iterator[Values]:
    """Combinations of the extremes of all keys: all of them, or the same sample of ``MOST_CORNERS`` each time."""
    for fixed, keys in branches(space):
        extremes = [each.extremes for each in keys.values()]
        if math.prod(map(len, extremes)) <= MOST_CORNERS:
            chosen: Iterator[tuple[Any, ...]] = itertools.product(*extremes)
        else:
            draw = random.Random(0)
            chosen = (tuple(draw.choice(each) for each in extremes) for _ in range(MOST_CORNERS))
        for values in chosen:
            yield {**fixed, **dict(zip(keys, values, strict=True))}


def problems(tune: TuneConfig, tree: Mapping[str, Any], wrong_with: WrongWith) -> list[Problem]:
    """Say what is wrong with a space, each with its place and what was given.

    ``wrong_with`` tells what is wrong with a configuration, empty if it is valid. Each key is tried alone, at every
    extreme; only if all are right, combinations of them.
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
        for values in corners(space):
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
        for value in distribution.extremes:
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
