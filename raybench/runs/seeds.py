"""Runs that differ in their seed alone: the table of what each came to, beside them.

``seeds.parquet``: one row per finished seed, by seed: run (name of its folder), seed, run_id, epochs, best_epoch,
seconds, and the validation metrics of the best epoch, NaN where there is none.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import pyarrow as pa

from raybench.runs.artifact import StoredRun
from raybench.runs.folders import SEEDS
from raybench.storage import files

METRICS = ("train_loss", "valid_loss", "valid_ic", "valid_rank_ic")


def seeds_table(runs: Sequence[StoredRun]) -> pd.DataFrame:
    """One row per run, by seed."""
    rows = [
        {
            "run": files.name_of(run.uri),
            "seed": int(run.manifest["seed"]),
            "run_id": run.run_id,
            "epochs": int(run.manifest["epochs"]),
            "best_epoch": int(run.manifest["best_epoch"]),
            "seconds": float(run.manifest["seconds"]),
            **{name: float("nan") if (value := run.metrics.get(name)) is None else value for name in METRICS},
        }
        for run in runs
    ]
    return pd.DataFrame(rows).sort_values("seed", ignore_index=True)


def write_seeds(uri: str, runs: Sequence[StoredRun]) -> None:
    """Publish the table of ``runs`` in the folder ``uri`` that holds them."""
    table = pa.Table.from_pandas(seeds_table(runs), preserve_index=False)
    files.publish_table(files.join(uri, SEEDS), table, metadata={})
