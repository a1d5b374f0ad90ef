"""The feature job: one Ray Data task per piece of instruments and dates, each publishing its own part of the table.

Where there is little to do, the threads of this process do it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from raybench.cluster import choice, ran_on
from raybench.errors import DataError, UserError
from raybench.fanout import on_threads
from raybench.feature_sets.build import build_features, is_built, parse_sets, plan_features
from raybench.feature_sets.pieces import FeaturePiece
from raybench.feature_sets.table import FeatureTable, TablePart
from raybench.market.bars import open_bars
from raybench.progress import SILENT, Progress
from raybench.storage import files
from raybench.storage.claims import held

LITTLE = 2 * 2**30  # bytes of features up to which the threads of one process are done before Ray, its start included


def write_features(
    bars: files.Uri,
    set: str,
    to: files.Uri,
    *,
    universe: str | None = None,
    start: str | None = None,
    end: str | None = None,
    local: bool | None = None,
    progress: Progress = SILENT,
) -> FeatureTable:
    """Build the feature table ``to`` from the bars dataset ``bars``.

    ``set`` is alpha158, alpha360 or both with a comma between them. ``universe``, ``start`` and ``end`` choose
    rows; every feature looks back over an instrument's whole history. ``local``: this process
    alone, on all of its cores (True), or Ray (False), to the same files; by default little stays here, unless a cluster
    is named or runs here. DataError if a living process writes ``to``.
    """
    job = plan_features(open_bars(bars), parse_sets(set), to, universe=universe, start=start, end=end)
    with held(job.to, what="features"):
        if is_built(job):
            return build_features(job, progress=progress)
        if choice.here(local, little=job.bars.metadata.rows * 4 * len(job.columns) <= LITTLE):
            ran_on.here(progress)
            return build_features(job, run=on_threads, progress=progress)
        from raybench.cluster.session import session

        with session(places={"--bars": job.bars.uri, "--to": job.to}, progress=progress):
            return build_features(job, run=run_on_ray, progress=progress)


def run_on_ray(
    build: Callable[[FeaturePiece], TablePart | None], pieces: list[FeaturePiece]
) -> Iterator[TablePart | None]:
    """Build each part as a Ray Data task of one CPU; parts come as they are finished.

    A task that is lost with its node runs again; a part that it had published is taken up.
    """
    import ray

    def task(row: dict[str, Any]) -> dict[str, Any]:
        try:
            part = build(pieces[row["item"]])
        except UserError as error:  # as a value: what is raised comes back wrapped, logged and without its type
            return {"part": "", "error": str(error)}
        return {"part": part.to_json() if part else "", "error": ""}

    items = ray.data.from_items(list(range(len(pieces))), override_num_blocks=len(pieces))
    for row in items.map(task, num_cpus=1).iter_rows():
        if row["error"]:
            raise DataError(row["error"])
        yield TablePart.from_json(row["part"]) if row["part"] else None
