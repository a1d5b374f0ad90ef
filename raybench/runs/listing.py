"""What runs there are below a folder: finished, unfinished and damaged ones, each as a row.

A run says what it came to on its validation dates. What it is worth on its test dates is known to an evaluation:
one below the same folder (or beside a run that is listed alone) that names the ``run_id`` of this run alone. Runs
of seeds that were evaluated as one are a row of their own, named as the folder that holds them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from raybench.config import Config
from raybench.errors import DataError, UserError
from raybench.runs.artifact import CONFIG, MANIFEST, PROCESSORS, WEIGHTS, StoredRun, began, load_run, stored_config
from raybench.storage import files
from raybench.training.checkpoints import FOLDER, finished_epochs

REPORT = "report.json"
_ANOTHER = re.compile(r"Run \d+")
_SEED = re.compile(r"seed-\d+")
_RUN_ID = re.compile(r"\(([0-9a-f]{16})\)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedRun:
    """One run; ``state``: finished, unfinished or damaged, and why. What is not known is None.

    ``seeds``: how many runs of one folder were evaluated as one, where the row is of an ensemble.
    """

    run: str
    state: str
    network: str | None = None
    features: str | None = None
    seed: int | None = None
    seeds: int | None = None
    epochs: int | None = None
    valid_rank_ic: float | None = None
    test_rank_ic: float | None = None
    test_rank_ic_error: float | None = None
    run_id: str | None = None
    finished: str | None = None
    problem: str | None = None


def list_runs(uri: str, warn: Callable[[str], None] = lambda _: None) -> list[ListedRun]:
    """List the runs at and below a folder, local or s3://, by name; DataError if it is not there.

    ``warn`` is told of reports of evaluations that cannot be read; a run that cannot be is a row, with its problem.
    """
    root = files.open_location(uri).uri
    if not files.is_folder(root):
        raise DataError(f"{uri} is not there; want a folder with runs, such as runs")
    names = files.sizes(root)
    folders = sorted({_folder(name) for name in names if _is_of_a_run(name)})
    reports = [files.join(root, name) for name in names if name.rpartition("/")[2] == REPORT]
    if "" in folders or any(_is_seed(folder) for folder in folders):  # a run, or those of seeds: judged beside it
        beside = files.join(root.rpartition("/")[0], f"{files.name_of(root)}-evaluation", REPORT)
        reports += [beside] if files.exists(beside) else []
    worth = _evaluations(reports, warn)
    rows = [_listed(files.join(root, folder) if folder else root, folder or files.name_of(root)) for folder in folders]
    listed = [row for row in rows if row is not None]
    listed += _ensembles(listed, worth, files.name_of(root))
    found = [_with_test(row, worth.get(frozenset((row.run_id or "").split()))) for row in listed]
    return sorted(found, key=lambda row: row.run) if len(found) > len(rows) else found


def _is_seed(folder: str) -> bool:
    """Say whether a folder is one that ``train --seeds`` wrote right here."""
    return _SEED.fullmatch(folder) is not None


def _ensembles(rows: Sequence[ListedRun], worth: Mapping[frozenset[str], Any], here: str) -> Iterator[ListedRun]:
    """Give a row for each folder of seeds whose finished runs were evaluated as one."""
    folders: dict[str, list[ListedRun]] = {}
    for row in rows:
        folder, _, name = row.run.rpartition("/")
        if _is_seed(name) and row.run_id is not None:
            folders.setdefault(folder, []).append(row)
    for folder, runs in folders.items():
        ids = [str(run.run_id) for run in runs]
        if len(ids) > 1 and frozenset(ids) in worth:
            first, finished = runs[0], max(str(run.finished) for run in runs)
            yield replace(
                first,
                run=folder or here,
                seed=None,
                seeds=len(ids),
                epochs=None,
                valid_rank_ic=None,
                run_id=" ".join(ids),
                finished=finished,
            )


def _is_of_a_run(name: str) -> bool:
    """Say whether a file may be one that every run has; copies in checkpoints are none."""
    return name.rpartition("/")[2] in (CONFIG, MANIFEST) and FOLDER not in name.split("/")


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


def _listed(uri: str, name: str) -> ListedRun | None:
    """Describe a folder; None if it is no run but has a file of the same name.

    A manifest that cannot be read is one of a run if other files of a run lie beside it.
    """
    finished = files.exists(files.join(uri, MANIFEST))
    if finished and not files.exists(files.join(uri, CONFIG)) and not _claims_to_be_a_run(uri):
        return None
    try:
        if finished:
            return _finished(load_run(uri, trust=True), name)
        config = stored_config(uri)
    except UserError as error:
        if not finished and not files.children(files.join(uri, FOLDER)):
            return None  # a config.yaml of somebody else
        return ListedRun(run=name, state="damaged", problem=" ".join(str(error).split()))
    if config is None or not began(uri, config):
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
        manifest = json.loads(files.read_bytes(files.join(uri, MANIFEST)))
    except (ValueError, RecursionError):
        manifest = None
    if not isinstance(manifest, dict):
        return any(files.exists(files.join(uri, name)) for name in (WEIGHTS, PROCESSORS))
    return {"run_id", "best_epoch"} <= manifest.keys()


def _finished(run: StoredRun, name: str) -> ListedRun:
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


def _evaluations(reports: Sequence[str], warn: Callable[[str], None]) -> dict[frozenset[str], Mapping[str, Any]]:
    """Read what runs were worth from evaluations of them: by the ids of those judged as one, the report made last."""
    found: dict[frozenset[str], tuple[str, Mapping[str, Any]]] = {}
    for report in reports:
        try:
            told = json.loads(files.read_bytes(report))
        except (UserError, OSError, ValueError, RecursionError) as error:
            why = error if isinstance(error, ValueError) else type(error).__name__
            warn(f"{report}: cannot be read ({why}), so what it says is not listed; evaluate again")
            continue
        try:
            inputs, metrics = told["inputs"], told["metrics"]
            named = [inputs["Run"], *(value for key, value in inputs.items() if _ANOTHER.fullmatch(key))]
            matches, made = [_RUN_ID.search(str(run)) for run in named], str(inputs.get("Made", ""))
        except (KeyError, TypeError, AttributeError):
            continue  # a report of something else, or no report
        if not all(matches) or not isinstance(metrics, dict):
            continue
        ids = frozenset(match[1] for match in matches if match)
        if ids not in found or made >= found[ids][0]:
            found[ids] = (made, metrics)
    return {ids: metrics for ids, (_, metrics) in found.items()}


def _with_test(row: ListedRun, metrics: Mapping[str, Any] | None) -> ListedRun:
    if metrics is None:
        return row
    value, error = (metrics.get(name) for name in ("Rank IC", "Rank IC standard error"))
    return replace(
        row,
        test_rank_ic=float(value) if isinstance(value, (int, float)) else None,
        test_rank_ic_error=float(error) if isinstance(error, (int, float)) else None,
    )
