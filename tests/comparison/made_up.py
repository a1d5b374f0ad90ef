"""Results that nobody trained for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from raybench.comparison.results import DAILY, results_frame


def fit(name: str, seed: int, **changes: Any) -> dict[str, Any]:
    """One row of results."""
    row: dict[str, Any] = {"name": name, "model": "gru", "feature_set": "alpha360", "seed": seed, "roll": None}
    row |= {"IC": 0.03, "ICIR": 0.3, "Rank IC": 0.04, "Rank ICIR": 0.4, "valid_rank_ic": 0.05, "best_epoch": 4}
    row |= {"epochs": 9, "seconds": 10.0, "samples_per_second": 1e4, "parameters": 1000, "run": f"runs/{name}/{seed}"}
    return row | {"error": None} | changes


def failed(name: str, seed: int, error: str) -> dict[str, Any]:
    """One row of a fit that came to nothing."""
    return {key: fit(name, seed)[key] for key in ("name", "model", "feature_set", "seed", "run")} | {"error": error}


def days(name: str, seed: int, rank_ic: Sequence[float], first: str = "2017-01-02", roll: str | None = None) -> Any:
    """The daily rows of a fit; IC is half of Rank IC."""
    when = pd.bdate_range(first, periods=len(rank_ic)).astype("datetime64[us]")
    value = np.asarray(rank_ic, dtype=np.float64)
    columns = {"name": name, "seed": seed, "roll": roll, "datetime": when, "ic": value / 2, "rank_ic": value}
    return pd.DataFrame(columns)[list(DAILY)]


def market(names: Sequence[str], seeds: int, dates: int, rolls: Sequence[str | None] = (None,)) -> Any:
    """Results and daily rows of names, seeds and rolls (years)."""
    rng = np.random.default_rng(3)
    rows, daily = [], []
    for k, name in enumerate(names):
        for seed in range(seeds):
            for roll in rolls:
                value = rng.normal(0.02 + 0.01 * k, 0.1, dates)
                figures = {"Rank IC": value.mean(), "seconds": 3.0 * (k + 1), "parameters": 100 * (k + 1)}
                rows.append(fit(name, seed, roll=roll, **figures))
                daily.append(days(name, seed, value, f"{roll or 2017}-01-02", roll))
    return results_frame(rows), pd.concat(daily, ignore_index=True)
