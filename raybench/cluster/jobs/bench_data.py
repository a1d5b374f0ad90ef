"""The data of the fits of a bench: opened, checked against what there is, and grouped by the panels they give.

All that can be wrong is told here, before the first fit.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import ray
import torch

from raybench.cluster.address import LOCAL, cluster_address
from raybench.cluster.jobs.bench_pool import Group
from raybench.cluster.packing import share_of
from raybench.cluster.preparation import residency
from raybench.cluster.resources import Capacity, this_machine
from raybench.comparison.fits import Fit
from raybench.comparison.ledger import Results
from raybench.comparison.on_test import days_of_test
from raybench.comparison.order import Durations
from raybench.config.panel_spec import PanelSpec
from raybench.config.size import parameters, row_bytes, sample_bytes
from raybench.errors import DataError, ResourceError, of
from raybench.panel.size import panel_bytes
from raybench.progress import Progress
from raybench.scoring.inputs import ScoringSource
from raybench.training.sources import Sources, open_data, open_sources, wants_dates

MOST_PANELS = 4  # in the object store at once, if there is room


@dataclass(frozen=True, slots=True, kw_only=True)
class FitData:
    """The data of a fit, opened. ``dates``: its network takes whole ones."""

    sources: Sources
    dates: bool
    panel_bytes: int


def opened_data(fits: Sequence[Fit]) -> dict[str, FitData]:
    """Open and check the data of every fit, by its folder, but of rolls still to come; and what its network says."""
    specs: dict[str, Sources] = {}
    known: dict[tuple[str, str | None], FitData] = {}
    found: dict[str, FitData] = {}
    ends: dict[str, np.datetime64] = {}
    several = len({fit.name for fit in fits}) > 1
    for fit in fits:
        same = (fit.name, fit.roll)
        if same not in known:
            spec = PanelSpec.of(fit.config)
            if _still_to_come(fit, spec, ends):
                continue
            with of(fit.name if several else ""):
                if spec.key not in specs:
                    specs[spec.key] = open_sources(spec)
                sources = specs[spec.key]
                source = ScoringSource(bars=sources.bars, features=sources.features)
                days_of_test(fit.config, source)
                size = panel_bytes(sources.spec, sources.bars, sources.features)
                known[same] = FitData(sources=sources, dates=wants_dates(fit.config, sources), panel_bytes=size)
        found[fit.folder] = known[same]
    return found


def _still_to_come(fit: Fit, spec: PanelSpec, ends: dict[str, np.datetime64]) -> bool:
    """Whether the data end before a roll's test segment begins, whatever else it lacks; ``ends`` is filled here."""
    if fit.roll is None:
        return False
    place = f"{spec.data.bars} {spec.data.features}"
    if place not in ends:
        bars, features = open_data(spec)
        ends[place] = ScoringSource(bars=bars, features=features).calendar[-1]
    return bool(ends[place] < np.datetime64(fit.config.data.segments.test[0]))


def groups_of(left: Sequence[Fit], opened: Mapping[str, FitData], there: Capacity) -> list[Group]:
    """Fits by the panel that they share."""
    by_panel: dict[str, list[Fit]] = defaultdict(list)
    for fit in left:
        by_panel[opened[fit.folder].sources.fingerprint].append(fit)
    groups = []
    for fits in by_panel.values():
        data = opened[fits[0].folder]
        shares = [share_of(fit.config, there, panel_bytes=data.panel_bytes) for fit in fits]
        group = Group(sources=data.sources, fits=tuple(fits), shares=tuple(shares), panel_bytes=data.panel_bytes)
        groups.append(group)
    return groups


def durations_of(fits: Sequence[Fit], opened: Mapping[str, FitData], results: Results) -> Durations:
    """What is known of how long fits take: their size, and what earlier ones took."""
    known = Durations()
    for fit in fits:
        config, data = fit.config, opened[fit.folder]
        spec, width = data.sources.spec, len(data.sources.columns)
        rows = data.panel_bytes // (row_bytes(spec, width) + sample_bytes(spec))
        known.expect(
            fit.name,
            samples=rows * config.data.step_len,
            parameters=max(parameters(config, width) or 0, width),
            epochs=1 if config.model.fitting == "direct" else config.train.max_epochs,
        )
        row = results.row(fit)
        if row is not None and row["error"] is None:
            known.took(fit.name, float(row["seconds"]))
    return known


def panels_at_once(groups: Sequence[Group]) -> int:
    """How many panels may lie in the object store: they fill half of a node's at most."""
    largest = max(group.panel_bytes for group in groups)
    return max(min(int(_store_bytes() / 2 // max(largest, 1)), MOST_PANELS), 1)


def _store_bytes() -> float:
    nodes = sum(bool(node["Alive"]) for node in ray.nodes())
    return float(ray.cluster_resources().get("object_store_memory", 0.0)) / max(nodes, 1)


def refuse_too_large(fits: Sequence[Fit], opened: Mapping[str, FitData]) -> None:
    """Refuse panels that a training would stream."""
    for fit in fits:
        data = opened[fit.folder]
        if residency(fit.config, data.sources, dates=data.dates) != "resident":
            size, room = data.panel_bytes / 2**30, _store_bytes() / 2**30
            raise ResourceError(
                f"{fit.name}: its rows take {size:.1f} GiB, and the object store of a node has {room:.1f} GiB, "
                "half of which is for them; use nodes with more memory, or shorten data.segments.train"
            )


def refuse_changed_data(out: str, results: Results, fits: Sequence[Fit], opened: Mapping[str, FitData]) -> None:
    """Refuse to put fits on other data beside those that have ended."""
    for fit in fits:
        row, now = results.row(fit), opened[fit.folder].sources.fingerprint
        if row is None or row["error"] is not None or row["data_fingerprint"] == now:
            continue
        raise DataError(
            f"{out}: {fit.folder} was trained on other data (fingerprint {str(row['data_fingerprint'])[:12]}, now "
            f"{now[:12]}): data.bars or data.features changed since; bring them back, or bench into another --out"
        )


def check_room(fits: Sequence[Fit], opened: Mapping[str, FitData], progress: Progress) -> None:
    """Refuse what this machine has no room for, where Ray is yet to be started on it alone."""
    if ray.is_initialized() or cluster_address(progress=progress) != LOCAL:
        return  # what the cluster has is asked when it is joined
    there = this_machine(gpus=torch.cuda.device_count())
    for fit in fits:
        share_of(fit.config, there, panel_bytes=opened[fit.folder].panel_bytes)
