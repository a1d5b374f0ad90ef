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
from raybench.data.bars import Bars
from raybench.data.feature_table import FeatureTable
from raybench.data.panel.build import build_panel
from raybench.data.panel.size import panel_bytes
from raybench.data.streaming import plan_stream
from raybench.errors import ConfigError
from raybench.progress import SILENT, Progress
from raybench.train.needs import measure_needs
from raybench.train.sources import IN_PROCESS_BYTES, DataFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """The data of a training, placed where workers read them; ``datasets`` are the blocks of streamed rows."""

    rows: Resident | Streamed
    datasets: Mapping[str, ray.data.Dataset]
    facts: DataFacts


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
            facts=DataFacts(
                processors=plan.processors,
                counts=plan.counts,
                fingerprint=plan.fingerprint,
                needs=measure_needs(config, bars, features, plan.processors.columns),
                warnings=plan.warnings,
            ),
        )
    run = on_ray if panel_bytes(config, bars, features) > IN_PROCESS_BYTES else map
    panel = build_panel(config, bars, features, run=run, progress=progress)
    facts = DataFacts.of(panel, config, bars, features)
    prepared = Prepared(rows=Resident.of(panel), datasets={}, facts=facts)
    del panel
    give_back_memory()
    return prepared


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
