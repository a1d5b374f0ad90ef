"""The feature job: one Ray Data task per group of instruments, each publishing its own part of the table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import ray

from raybench.cluster.session import session
from raybench.data import storage
from raybench.data.bars import open_bars
from raybench.data.feature_table import FeatureTable, Part
from raybench.data.features import Group, build_features, is_built, parse_sets, plan_features
from raybench.errors import DataError, UserError
from raybench.progress import SILENT, Progress


def features(
    bars: storage.Uri,
    set: str,
    to: storage.Uri,
    *,
    universe: str | None = None,
    start: str | None = None,
    end: str | None = None,
    local: bool = False,
    progress: Progress = SILENT,
) -> FeatureTable:
    """Build the feature table ``to`` from the bars dataset ``bars``.

    ``set`` is alpha158, alpha360 or both with a comma between them. ``universe``, ``start`` and ``end`` choose
    rows; every feature looks back over an instrument's whole history. ``local`` uses this process alone and
    gives the same files.
    """
    job = plan_features(open_bars(bars), parse_sets(set), to, universe=universe, start=start, end=end)
    if local or is_built(job):
        return build_features(job, progress=progress)
    with session(progress=progress):
        return build_features(job, run=run_on_ray, progress=progress)


def run_on_ray(build: Callable[[Group], Part | None], groups: list[Group]) -> Iterator[Part | None]:
    """Build the part of each group as a Ray Data task of one CPU; parts come as they are finished.

    A task that is lost with its node runs again; a part that it had published is taken up.
    """

    def task(row: dict[str, Any]) -> dict[str, Any]:
        try:
            part = build(groups[row["item"]])
        except UserError as error:  # as a value: what is raised comes back wrapped, logged and without its type
            return {"part": "", "error": str(error)}
        return {"part": part.to_json() if part else "", "error": ""}

    items = ray.data.from_items(list(range(len(groups))), override_num_blocks=len(groups))
    for row in items.map(task, num_cpus=1).iter_rows():
        if row["error"]:
            raise DataError(row["error"])
        yield Part.from_json(row["part"]) if row["part"] else None
