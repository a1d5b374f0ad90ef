"""Turning bars or a feature table into the panel of one training, its work spread over the cluster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import ray
import ray.data

from raybench.allocator import give_back_memory
from raybench.cluster.fanout import fanout
from raybench.cluster.residency import ResidentRows, StreamedRows, block_datasets, choose_residency
from raybench.config import Config
from raybench.errors import ConfigError
from raybench.panel.build import build_panel
from raybench.panel.size import panel_bytes
from raybench.panel.streaming import plan_stream
from raybench.progress import SILENT, Progress
from raybench.training.needs import measure_needs
from raybench.training.sources import IN_PROCESS_BYTES, DataFacts, Sources


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingData:
    """The data of a training, placed where workers read them; ``datasets`` are the blocks of streamed rows."""

    rows: ResidentRows | StreamedRows
    datasets: Mapping[str, ray.data.Dataset]
    facts: DataFacts


def prepare(sources: Sources, kind: str, *, progress: Progress = SILENT) -> TrainingData:
    """Read, fit and place the rows that trainings learn from.

    Groups of instruments, and of columns, are Ray tasks, unless there is so little of them that the processes for it
    would take longer to start, and hold more memory, than the work. ``kind``: resident or streaming, see
    :func:`residency`.
    """
    spec, bars, features = sources.spec, sources.bars, sources.features
    if kind == "streaming":
        plan = plan_stream(spec, bars, features, run=fanout, progress=progress)
        progress.note(f"streaming {len(plan.groups)} blocks")
        return TrainingData(
            rows=StreamedRows(view=plan.view, windows=plan.counts["train"]),
            datasets=block_datasets(plan),
            facts=DataFacts(
                processors=plan.processors,
                counts=plan.counts,
                fingerprint=plan.fingerprint,
                needs=measure_needs(spec, bars, features, plan.processors.columns, plan.filled),
                warnings=plan.warnings,
            ),
        )
    run = fanout if panel_bytes(spec, bars, features) > IN_PROCESS_BYTES else map
    panel = build_panel(spec, bars, features, run=run, progress=progress)
    facts = DataFacts.of(panel, sources)
    prepared = TrainingData(rows=ResidentRows.of(panel), datasets={}, facts=facts)
    del panel
    give_back_memory()
    return prepared


def residency(config: Config, sources: Sources, *, dates: bool = False) -> str:
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
    size = panel_bytes(sources.spec, sources.bars, sources.features)
    return choose_residency(config.data.residency, panel_bytes=size, store_bytes=store)
