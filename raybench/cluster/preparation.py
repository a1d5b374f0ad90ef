"""Turning bars or a feature table into the panel of one training, its work spread over the cluster."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import ray

from raybench.config import Config
from raybench.data.bars import Bars, open_bars
from raybench.data.feature_table import FeatureTable, open_features
from raybench.data.panel import Panel, build_panel
from raybench.progress import SILENT, Progress


def prepare(config: Config, *, progress: Progress = SILENT) -> Panel:
    """Return the panel that ``config`` trains on; each group of instruments or columns is one Ray task."""
    bars, features = open_data(config)
    return build_panel(config, bars, features, run=on_ray, progress=progress)


def open_data(config: Config) -> tuple[Bars | None, FeatureTable | None]:
    """Open what ``data.bars`` and ``data.features`` name."""
    data = config.data
    return (
        open_bars(data.bars) if data.bars else None,
        open_features(data.features) if data.features else None,
    )


def on_ray(function: Callable[[Any], Any], items: Iterable[Any], /) -> Iterator[Any]:
    """Like ``map``, each call a Ray task of one CPU; results come in the order of ``items``.

    What ``function`` carries along lies in the object store once.
    """
    shared = ray.put(function)
    pending = deque(_call.remote(shared, item) for item in items)
    while pending:
        yield ray.get(pending.popleft())


@ray.remote(num_cpus=1)
def _call(function: Callable[[Any], Any], item: Any) -> Any:
    return function(item)
