"""What of a configuration decides what is learned, and how two of them differ.

Not part of it, and so free to change when a training goes on: ``cluster`` (where it runs, with how many workers, how
often it is tried again), ``tune`` and ``evaluate``, ``train.tensorboard``, ``data.horizon``, and where data lie, which
are known by their content. Another number of workers adds up the same samples in another order, and draws dropout anew.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

from raybench.config.load import PATHS
from raybench.config.networks import NETWORKS
from raybench.config.schema import Config

_SHOWN = 3  # keys that are named
_MISSING = "not set"


def learned(config: Config) -> dict[str, Any]:
    """What decides what is learned, as plain values by dotted key."""
    tree = config.model_dump(mode="json", by_alias=True, exclude={"cluster", "tune", "evaluate"})
    tree["train"].pop("tensorboard")
    data = tree["data"]
    for part in (data, data["second"] or {}):
        for key in (*PATHS, "horizon"):
            part.pop(key, None)
    base = getattr(config.model, "pretrained", None) if config.model.type in NETWORKS else None
    if base is not None:  # one's own network may call something else so
        tree["model"]["pretrained"] = _followed(base)
    return dict(_flat(tree))


def config_hash(facts: Mapping[str, Any]) -> str:
    """A hash of what :func:`learned` gives."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def differing(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """Name the keys whose values differ."""
    return [key for key in sorted({*there, *here}) if there.get(key, _MISSING) != here.get(key, _MISSING)]


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """Name the keys that differ, with both values; empty if none does."""
    keys = differing(there, here)
    named = [f"{key} is {_shown(there, key)} there, {_shown(here, key)} here" for key in keys[:_SHOWN]]
    more = len(keys) - len(named)
    return "; ".join([*named, *([f"and {more} keys more"] if more else [])])


def data_places(config: Config) -> dict[str, str]:
    """Where the data lie, by key; links are followed, so that two names of one place are equal."""
    data = config.data
    given = {f"data.{key}": getattr(data, key) for key in PATHS}
    given["data.second.bars"] = None if data.second is None else data.second.bars
    return {key: _followed(place) for key, place in given.items() if place is not None}


def _followed(place: str) -> str:
    return place if "://" in place else os.path.realpath(os.path.expanduser(place))


def _flat(tree: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _shown(facts: Mapping[str, Any], key: str) -> str:
    text = json.dumps(facts[key], ensure_ascii=False) if key in facts else _MISSING
    return text if len(text) <= 60 else f"{text[:57]}..."
