"""Turning bars or a feature table into the panel of one training, its work spread over the cluster."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import ray
import ray.data

from raybench.cluster.allocator import give_back_memory
from raybench.cluster.errors import as_raised
from raybench.cluster.residency import Resident, Streamed, block_datasets, choose_residency
from raybench.config import Config
from raybench.data.bars import Bars, open_bars
from raybench.data.feature_table import FeatureTable, open_features
from raybench.data.panel.build import build_panel
from raybench.data.panel.size import panel_bytes
from raybench.data.processors import FittedProcessors
from raybench.data.streaming import plan_stream
from raybench.errors import ConfigError
from raybench.progress import SILENT, Progress
from raybench.train.needs import Needs, measure_needs, needs_of

IN_PROCESS_BYTES = 512 * 2**20  # rows up to this size are prepared by the driver alone: a few seconds of one core


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """All that a training knows of its data; ``datasets`` are the blocks of streamed rows."""

    rows: Resident | Streamed
    datasets: Mapping[str, ray.data.Dataset]
    processors: FittedProcessors
    counts: Mapping[str, int]
    fingerprint: str
    needs: Needs
    second_processors: FittedProcessors | None = None
    warnings: tuple[str, ...] = ()


def prepare(
    config: Config,
    bars: Bars | None,
    features: FeatureTable | None,
    kind: str,
    *,
    progress: Progress = SILENT,
) -> Prepared:
    """Read, fit and place the rows that ``config`` trains on.

    Groups of instruments, and of columns, are Ray tasks, unless there is so little of them that the processes for it
    would take longer to start, and hold more memory, than the work. ``kind``: resident or streaming, see
    :func:`residency`.
    """
    if kind == "streaming":
        plan = plan_stream(config, bars, features, run=on_ray, progress=progress)
        progress.note(f"streaming {len(plan.groups)} blocks")
        return Prepared(
            rows=Streamed(view=plan.view),
            datasets=block_datasets(plan),
            processors=plan.processors,
            counts=plan.counts,
            fingerprint=plan.fingerprint,
            needs=measure_needs(config, bars, features, plan.processors.columns),
            warnings=_told(plan.warnings, progress),
        )
    run = on_ray if panel_bytes(config, bars, features) > IN_PROCESS_BYTES else map
    panel = build_panel(config, bars, features, run=run, progress=progress)
    prepared = Prepared(
        rows=Resident.of(panel),
        datasets={},
        processors=panel.processors,
        counts=panel.counts,
        fingerprint=panel.fingerprint,
        needs=needs_of(panel, config, bars, features),
        second_processors=panel.second_processors,
        warnings=_told(panel.warnings, progress),
    )
    del panel
    give_back_memory()
    return prepared


def _told(warnings: tuple[str, ...], progress: Progress) -> tuple[str, ...]:
    """Say what is odd before hours are spent on it; the run keeps it too."""
    for line in warnings:
        progress.note(f"look: {line}")
    return warnings


def residency(config: Config, bars: Bars | None, features: FeatureTable | None, *, dates: bool = False) -> str:
    """Say how the rows will lie, ``data.residency`` auto being decided by the room in the object store.

    Streamed blocks are of whole instruments, so a network that takes whole ``dates`` needs resident rows.
    """
    if dates:
        if config.data.residency == "streaming":
            raise ConfigError(
                f"data.residency is streaming, which has blocks of instruments, but model.type {config.model.type} "
                "takes whole dates; set data.residency to resident"
            )
        return "resident"
    if config.data.second is not None or config.model.remembers:  # whose rows no block of the first window has
        return "resident"
    nodes = sum(bool(node["Alive"]) for node in ray.nodes())
    store = ray.cluster_resources().get("object_store_memory", 0.0) / max(nodes, 1)
    return choose_residency(config.data.residency, panel_bytes=panel_bytes(config, bars, features), store_bytes=store)


def open_data(config: Config) -> tuple[Bars | None, FeatureTable | None]:
    """Open what ``data.bars`` and ``data.features`` name."""
    data = config.data
    return (
        open_bars(data.bars) if data.bars else None,
        open_features(data.features) if data.features else None,
    )


def on_ray(function: Callable[[Any], Any], items: Iterable[Any], /) -> Iterator[Any]:
    """Like ``map``, each call a Ray task of one CPU; results come in the order of ``items``.

    What ``function`` carries along lies in the object store once. A user error of a task comes out as itself.
    """
    shared = ray.put(function)
    pending = deque(_call.remote(shared, item) for item in items)
    while pending:
        with as_raised():
            result = ray.get(pending.popleft())
        yield result


@ray.remote(num_cpus=1)
def _call(function: Callable[[Any], Any], item: Any) -> Any:
    return function(item)
