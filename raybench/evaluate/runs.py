"""What runs there are below a folder: finished, unfinished and damaged ones, each as a row.

A run says what it came to on its validation dates. What it is worth on its test dates is known to an evaluation:
one below the same folder (or beside a run that is listed alone) that names the ``run_id`` of this run alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from raybench.config import Config, dump_config
from raybench.data import storage
from raybench.errors import DataError, UserError
from raybench.train.artifact import CONFIG, MANIFEST, Run, load_run, stored_config
from raybench.train.checkpoints import FOLDER, finished_epochs

REPORT = "report.json"
_RUN_ID = re.compile(r"\(([0-9a-f]{16})\)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedRun:
    """One run; ``state``: finished, unfinished or damaged, and why. What is not known is None."""

    run: str
    state: str
    network: str | None = None
    features: str | None = None
    seed: int | None = None
    epochs: int | None = None
    valid_rank_ic: float | None = None
    test_rank_ic: float | None = None
    test_rank_ic_error: float | None = None
    run_id: str | None = None
    finished: str | None = None
    problem: str | None = None


def list_runs(uri: str) -> list[ListedRun]:
    """List the runs at and below a folder, local or s3://, by name; DataError if it is not there."""
    root = storage.open_location(uri).uri
    if not storage.is_folder(root):
        raise DataError(f"{uri} is not there; want a folder with runs, such as runs")
    names = storage.sizes(root)
    folders = sorted({_folder(name) for name in names if _is_of_a_run(name)})
    reports = [storage.join(root, name) for name in names if name.rpartition("/")[2] == REPORT]
    if "" in folders:  # a run itself: its evaluation lies beside it
        beside = storage.join(root.rpartition("/")[0], f"{storage.name_of(root)}-evaluation", REPORT)
        reports += [beside] if storage.exists(beside) else []
    worth = _evaluations(reports)
    rows = [
        _listed(storage.join(root, folder) if folder else root, folder or storage.name_of(root)) for folder in folders
    ]
    return [_with_test(row, worth.get(row.run_id or "")) for row in rows if row is not None]


def _is_of_a_run(name: str) -> bool:
    """Say whether a file may be one that every run has; copies in checkpoints are none."""
    return name.rpartition("/")[2] in (CONFIG, MANIFEST) and FOLDER not in name.split("/")


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


def _listed(uri: str, name: str) -> ListedRun | None:
    """Describe a folder; None if it is no run but has a file of the same name."""
    finished = storage.exists(storage.join(uri, MANIFEST))
    if finished and not storage.exists(storage.join(uri, CONFIG)) and not _claims_to_be_a_run(uri):
        return None
    try:
        if finished:
            return _finished(load_run(uri, trust=True), name)
        config = stored_config(uri)
    except UserError as error:
        if not finished and not storage.children(storage.join(uri, FOLDER)):
            return None  # a config.yaml of somebody else
        return ListedRun(run=name, state="damaged", problem=" ".join(str(error).split()))
    if config is None or not _began(uri, config):
        return None
    return ListedRun(
        run=name,
        state="unfinished",
        network=config.model.type,
        features=_features(config, None),
        seed=config.train.seed,
        epochs=finished_epochs(uri),
    )


def _claims_to_be_a_run(uri: str) -> bool:
    try:
        manifest = json.loads(storage.read_bytes(storage.join(uri, MANIFEST)))
    except (ValueError, RecursionError):
        return False
    return isinstance(manifest, dict) and {"run_id", "best_epoch"} <= manifest.keys()


def _began(uri: str, config: Config) -> bool:
    """Say whether a training wrote this configuration: it is written out in full, as nobody would by hand."""
    return storage.read_bytes(storage.join(uri, CONFIG)) == dump_config(config).encode()


def _finished(run: Run, name: str) -> ListedRun:
    manifest = run.manifest
    return ListedRun(
        run=name,
        state="finished",
        network=run.config.model.type,
        features=_features(run.config, len(run.features)),
        seed=int(manifest["seed"]),
        epochs=int(manifest["epochs"]),
        valid_rank_ic=run.metrics.get("valid_rank_ic"),
        run_id=run.run_id,
        finished=str(manifest["finished"]),
    )


def _features(config: Config, columns: int | None) -> str:
    kind = config.data.feature_set.type
    count = config.data.num_features if columns is None or kind == "alpha360" else columns
    return kind if kind == "alpha360" or count is None else f"{kind}, {count}"


def _evaluations(reports: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    """Read what each run was worth from evaluations of it alone; of several the one that was made last."""
    found: dict[str, tuple[str, Mapping[str, Any]]] = {}
    for report in reports:
        try:
            told = json.loads(storage.read_bytes(report))
            inputs, metrics = told["inputs"], told["metrics"]
            match, made = _RUN_ID.search(str(inputs["Run"])), str(inputs.get("Made", ""))
        except (UserError, OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError):
            continue  # a report of something else, or no report
        if match is None or "Run 2" in inputs or not isinstance(metrics, dict):
            continue
        if match[1] not in found or made >= found[match[1]][0]:
            found[match[1]] = (made, metrics)
    return {run_id: metrics for run_id, (_, metrics) in found.items()}


def _with_test(row: ListedRun, metrics: Mapping[str, Any] | None) -> ListedRun:
    if metrics is None:
        return row
    value, error = (metrics.get(name) for name in ("Rank IC", "Rank IC standard error"))
    return replace(
        row,
        test_rank_ic=float(value) if isinstance(value, (int, float)) else None,
        test_rank_ic_error=float(error) if isinstance(error, (int, float)) else None,
    )
