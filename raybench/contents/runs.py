"""What a run directory holds, finished or not, and what a folder of runs does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np

from raybench.config import Config
from raybench.config.identity import data_places
from raybench.config.size import parameters
from raybench.contents.size import megabytes
from raybench.errors import RunError
from raybench.runs.artifact import StoredRun, is_finished, load_run, stored_config
from raybench.runs.listing import ListedRun, list_runs
from raybench.storage import files
from raybench.training.checkpoints import finished_epochs


def run_contents(uri: str) -> dict[str, Any]:
    """Describe the run at ``uri``; its own code, if it brings some, is not imported."""
    place = files.open_location(uri).uri
    if is_finished(place):
        return _finished(load_run(place, trust=True))
    config = stored_config(place)
    if config is None:
        raise RunError(f"{place}: holds the beginnings of a run without its configuration; train again")
    return {
        "run": place,
        "state": "unfinished",
        "epochs": finished_epochs(place),
        **_asked(config),
        "features": config.data.num_features,
        "parameters": parameters(config),
        "megabytes": megabytes(place),
    }


def runs_contents(uri: str, warn: Callable[[str], None]) -> dict[str, Any]:
    """Describe the runs in the folder ``uri``; ``warn`` is told of those that cannot be read."""
    place = files.open_location(uri).uri
    rows = list_runs(place, warn)
    for row in rows:
        if row.problem:
            warn(row.problem)
    single = [row for row in rows if row.seeds is None]
    valid = np.array([row.valid_rank_ic for row in single if row.valid_rank_ic is not None], np.float64)
    return {
        "folder": place,
        "runs": len(single),
        "unfinished": sum(row.state == "unfinished" for row in single),
        "damaged": sum(row.state == "damaged" for row in single),
        "valid_rank_ic": round(float(valid.mean()), 6) if len(valid) else None,
        "valid_rank_ic_std": round(float(valid.std(ddof=1)), 6) if len(valid) > 1 else None,
        "megabytes": megabytes(place),
        "seeds": [_row(row) for row in rows],
    }


def _finished(run: StoredRun) -> dict[str, Any]:
    manifest = run.manifest
    return {
        "run": run.uri,
        "run_id": run.run_id,
        "state": "adopted" if "adopted_from" in manifest else "finished",
        **_asked(run.config),
        "features": len(run.features),
        "names": list(run.features),
        "parameters": manifest.get("parameters"),
        "epochs": manifest.get("epochs"),
        "best_epoch": manifest.get("best_epoch"),
        **{name: value for name, value in run.metrics.items() if name != "best_epoch"},
        "samples": manifest.get("samples"),
        "workers": manifest.get("workers"),
        "seconds": manifest.get("seconds"),
        "finished": manifest.get("finished"),
        "data_fingerprint": manifest.get("data_fingerprint"),
        "versions": manifest.get("versions"),
        "git_commit": manifest.get("git_commit"),
        "megabytes": megabytes(run.uri),
        "odd_about_its_data": list(run.warnings),
    }


def _row(row: ListedRun) -> dict[str, Any]:
    """A run on a line, what tells runs apart in front."""
    first = ("run", "state", "network", "seed", "epochs", "valid_rank_ic", "test_rank_ic")
    values = asdict(row)
    return {name: values.pop(name) for name in first} | values


def _asked(config: Config) -> dict[str, Any]:
    """What a configuration says of a run, for people."""
    data = config.data
    return {
        "network": config.model.type,
        "feature_set": data.feature_set.type,
        "window": data.step_len,
        "label": data.label,
        "universe": data.universe,
        "segments": {name: f"{first} to {last}" for name, (first, last) in data.segments.items()},
        "sources": data_places(config),
        "seed": config.train.seed,
        "recipe": config.recipe,
    }
