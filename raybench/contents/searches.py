"""What a search and a bench hold, finished or not."""

from __future__ import annotations

from typing import Any

import numpy as np

from raybench.comparison.asked import Bench
from raybench.comparison.results import TABLE, read_results, results_frame
from raybench.contents.size import megabytes
from raybench.errors import RunError
from raybench.search.folder import is_finished, load_search, stored_config
from raybench.search.ledger import Ledger, TrialRecord, trial_id
from raybench.storage import files

SHOWN = 5  # trials, the best


def search_contents(uri: str) -> dict[str, Any]:
    """Describe the search at ``uri``."""
    place = files.open_location(uri).uri
    config = stored_config(place)
    if config is None:
        raise RunError(f"{place}: holds a search without its configuration; search again into another --out")
    ledger = Ledger.opened(place, list(config.search_space), config.tune.mode)
    finished = load_search(place) if is_finished(place) else None
    best = ledger.best() if finished is None else finished.best_trial
    states = [record.status for record in ledger.records.values()]
    return {
        "search": place,
        "state": "unfinished" if finished is None else "finished",
        "network": config.model.type,
        "feature_set": config.data.feature_set.type,
        "searched": list(config.search_space),
        "trials_asked": config.tune.num_samples,
        "trials": {state: states.count(state) for state in dict.fromkeys(states)},
        "metric": f"{config.tune.metric}, {config.tune.mode}",
        "best_trial": None if best is None else trial_id(best.number),
        "best_values": None if best is None else dict(best.values),
        "best_metric": None if best is None else best.metric,
        "test": None if finished is None else dict(finished.test),
        "seconds": None if finished is None else finished.seconds,
        "data_fingerprint": next(iter(ledger.data.values()), None),
        "megabytes": megabytes(place),
        "best_trials": [_trial(record) for record in _order(ledger)[:SHOWN]],
    }


def bench_contents(uri: str) -> dict[str, Any]:
    """Describe the bench at ``uri``."""
    place = files.open_location(uri).uri
    bench = Bench.read(place)
    assert bench is not None, "whoever asks has seen its file"
    table = read_results(place) if files.exists(files.join(place, TABLE)) else results_frame([])
    failed = table["error"].notna()
    return {
        "bench": place,
        "state": "unfinished" if bench.ended is None else "finished",
        "fits_asked": len(bench.asked.fits),
        "fits_ended": int((~failed).sum()),
        "fits_failed": int(failed.sum()),
        "rolling": bench.asked.rolling,
        "seconds": None if bench.ended is None else bench.ended.seconds,
        "finished": None if bench.ended is None else bench.ended.finished,
        "data_fingerprints": sorted(set(table.loc[~failed, "data_fingerprint"].dropna())),
        "megabytes": megabytes(place),
        "configurations": [_configuration(name, part) for name, part in table.groupby("name", sort=False)],
    }


def _order(ledger: Ledger) -> list[TrialRecord]:
    sign = -1.0 if ledger.mode == "max" else 1.0
    known = [record for record in ledger.records.values() if np.isfinite(record.metric)]
    return sorted(known, key=lambda record: (sign * record.metric, record.number))


def _trial(record: TrialRecord) -> dict[str, Any]:
    told = {"trial": trial_id(record.number), "status": record.status, "epochs": record.epochs}
    return {**told, "metric": record.metric, **{_short(key): value for key, value in record.values.items()}}


def _short(key: str) -> str:
    return key.removeprefix("model.").removeprefix("train.")


def _configuration(name: Any, part: Any) -> dict[str, Any]:
    well = part[part["error"].isna()]
    rank_ic = well["Rank IC"].dropna().to_numpy(np.float64)
    return {
        "name": name,
        "network": part["model"].iloc[0],
        "features": part["feature_set"].iloc[0],
        "fits": len(well),
        "failed": len(part) - len(well),
        "rank_ic": round(float(rank_ic.mean()), 6) if len(rank_ic) else None,
        "rank_ic_std": round(float(rank_ic.std(ddof=1)), 6) if len(rank_ic) > 1 else None,
    }
