"""The frame of results: one row for each fit of a configuration with a seed, and what its test dates brought by day.

``results.parquet``: the columns of ``COLUMNS``, in the order of fits. ``error`` is null where all went well; a fit that
failed has neither figures nor versions. NaN: a figure that is not known, such as the peak memory of a run that was
trained elsewhere. ``roll`` is null without rolling segments.

``daily/<name>.parquet``: the columns of ``DAILY``, the test dates of all fits of a configuration, NaN where a date has
no correlation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from raybench.config import Config
from raybench.config.identity import config_hash, learned
from raybench.evaluation.evaluation import Evaluation
from raybench.runs.artifact import StoredRun
from raybench.storage import files, parquet

TABLE, DAILY_FOLDER = "results.parquet", "daily"

COLUMNS: Mapping[str, str] = {
    "name": "str",
    "model": "str",
    "feature_set": "str",
    "seed": "Int64",
    "roll": "str",
    "IC": "float64",
    "ICIR": "float64",
    "Rank IC": "float64",
    "Rank ICIR": "float64",
    "valid_rank_ic": "float64",
    "best_epoch": "Int64",
    "epochs": "Int64",
    "seconds": "float64",
    "samples_per_second": "float64",
    "peak_memory_mib": "float64",
    "parameters": "Int64",
    "config_hash": "str",
    "data_fingerprint": "str",
    "run": "str",
    "run_id": "str",
    "raybench": "str",
    "torch": "str",
    "ray": "str",
    "error": "str",
}
"""Name and kind of each column.

name : of the configuration: the stem of its file, made unique
model, feature_set : types of the configuration
IC, ICIR, Rank IC, Rank ICIR : over the test dates
valid_rank_ic, best_epoch : of the epoch that was kept
seconds, samples_per_second : of all epochs, validation included, and the mean of the epochs
peak_memory_mib : of the fit's own process, without what it shares with others
config_hash : of what decides what is learned, the seed apart, so that seeds of one configuration agree
run : its folder, relative to the folder of the table
"""

DAILY: Mapping[str, str] = {
    "name": "str",
    "seed": "Int64",
    "roll": "str",
    "datetime": "datetime64[us]",
    "ic": "float64",
    "rank_ic": "float64",
}
"""As ``COLUMNS``, of the table by day."""

Row = Mapping[str, Any]
_ARROW = {"str": pa.string(), "Int64": pa.int64(), "float64": pa.float64(), "datetime64[us]": pa.timestamp("us")}


def identified(name: str, config: Config, *, folder: str, roll: str | None = None) -> dict[str, Any]:
    """What is known of a fit before it began."""
    return {
        "name": name,
        "model": config.model.type,
        "feature_set": config.data.feature_set.type,
        "seed": config.train.seed,
        "roll": roll,
        "config_hash": hash_without_seed(config),
        "run": folder,
    }


def hash_without_seed(config: Config) -> str:
    """A hash of what decides what is learned, the seed apart."""
    facts = learned(config)
    facts.pop("train.seed")
    return config_hash(facts)


def row_of(
    name: str,
    run: StoredRun,
    evaluation: Evaluation | None,
    *,
    folder: str,
    roll: str | None = None,
    peak_memory_mib: float = float("nan"),
) -> dict[str, Any]:
    """The row of a run that was judged on its test dates; without ``evaluation`` it could not be."""
    manifest, history = run.manifest, run.history
    metrics = {} if evaluation is None else evaluation.metrics
    return {
        **identified(name, run.config, folder=folder, roll=roll),
        **{key: metrics.get(key, float("nan")) for key in ("IC", "ICIR", "Rank IC", "Rank ICIR")},
        "valid_rank_ic": run.metrics.get("valid_rank_ic"),
        "best_epoch": manifest.get("best_epoch"),
        "epochs": manifest.get("epochs"),
        "seconds": float(history["seconds"].sum()) if len(history) else float("nan"),
        "samples_per_second": float(history["samples_per_second"].mean()) if len(history) else float("nan"),
        "peak_memory_mib": peak_memory_mib,
        "parameters": manifest.get("parameters"),
        "data_fingerprint": manifest.get("data_fingerprint"),
        "run_id": run.run_id,
        **dict(manifest.get("versions", {})),
        "error": None,
    }


def failed_row(name: str, config: Config, error: str, *, folder: str, roll: str | None = None) -> dict[str, Any]:
    """The row of a fit that came to nothing, with its cause in one line."""
    return {**identified(name, config, folder=folder, roll=roll), "error": error}


def results_frame(rows: Iterable[Row]) -> pd.DataFrame:
    """Rows as a frame with every column of ``COLUMNS``, in their order and of their kinds."""
    return _typed(
        pd.DataFrame([{key: row.get(key) for key in COLUMNS} for row in rows], columns=list(COLUMNS)), COLUMNS
    )


def daily_frame(name: str, seed: int, roll: str | None, evaluation: Evaluation) -> pd.DataFrame:
    """What the test dates brought, one row each, with the columns of ``DAILY``."""
    daily = evaluation.unseen[["datetime", "ic", "rank_ic"]]
    return _typed(daily.assign(name=name, seed=seed, roll=roll)[list(DAILY)].reset_index(drop=True), DAILY)


def write_results(out: files.Uri, rows: Iterable[Row]) -> pd.DataFrame:
    """Publish the table in the folder ``out``, and return it."""
    frame = results_frame(rows)
    files.publish_table(files.join(out, TABLE), _arrow(frame, COLUMNS), metadata={})
    return frame


def read_results(out: files.Uri) -> pd.DataFrame:
    """Read the table of the folder ``out``; DataError if there is none."""
    return _typed(parquet.read_table(files.join(out, TABLE), list(COLUMNS)).to_pandas(), COLUMNS)


def daily_path(out: files.Uri, name: str) -> str:
    """Where what the fits of a configuration brought by day lies."""
    return files.join(out, DAILY_FOLDER, f"{name}.parquet")


def write_daily(out: files.Uri, name: str, parts: Sequence[pd.DataFrame]) -> None:
    """Publish what the fits of a configuration brought by day."""
    table = _arrow(pd.concat(parts, ignore_index=True), DAILY)
    files.publish_table(daily_path(out, name), table, metadata={})


def read_daily(out: files.Uri) -> pd.DataFrame:
    """Read what all fits brought by day; no row where none ended."""
    folder = files.join(out, DAILY_FOLDER)
    names = sorted(name for name in files.children(folder) if name.endswith(".parquet"))
    tables = [parquet.read_table(files.join(folder, name), list(DAILY)).to_pandas() for name in names]
    empty = pd.DataFrame({key: [] for key in DAILY})
    return _typed(pd.concat(tables, ignore_index=True) if tables else empty, DAILY)


def _arrow(frame: pd.DataFrame, kinds: Mapping[str, str]) -> pa.Table:
    """With the types of ``kinds``, of a column without any value too."""
    schema = pa.schema([(name, _ARROW[kind]) for name, kind in kinds.items()])
    return pa.Table.from_pandas(frame, schema=schema, preserve_index=False)


def _typed(frame: pd.DataFrame, kinds: Mapping[str, str]) -> pd.DataFrame:
    """Bring columns to their kinds; text stays objects, null where there is none."""
    columns: dict[str, Any] = {}
    for name, kind in kinds.items():
        column = frame[name]
        if kind == "str":
            columns[name] = column.astype(object).where(column.notna(), None)
        elif kind == "float64":
            columns[name] = pd.to_numeric(column, errors="coerce").astype(np.float64)
        else:
            columns[name] = column.astype(kind)  # type: ignore[call-overload]  # the stubs want a literal
    return pd.DataFrame(columns)
