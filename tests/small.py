"""A small market on disk, and a configuration that trains on it within seconds: where tests begin that need a run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from raybench.config import Config, load_config
from raybench.config.data.alpha_names import BENCHMARK_20
from raybench.market.bars import BarBlock
from raybench.market.importing.job import import_bars
from raybench.market.sources.source import memory_source
from raybench.market.synthetic import UNIVERSE, make_market
from raybench.market.universe import universe_of_frame

SMALLEST: Mapping[str, Any] = {
    "data": {
        "bars": "/data/bars",
        "segments": {
            "train": ["2010-01-01", "2012-12-31"],
            "valid": ["2013-01-01", "2013-12-31"],
            "test": ["2014-01-01", "2014-12-31"],
        },
    },
    "model": {"type": "gru"},
}
"""A configuration of no more than it has to say, of bars that nobody opens."""


def small_bars(to: str | Path, *, instruments: int, seed: int = 0, **spans: pd.DataFrame) -> str:
    """Import two years of a made-up market with its universe ``demo``, and those of ``spans``."""
    market = make_market(instruments=instruments, years=2, seed=seed)
    universes = {name: universe_of_frame(name, each) for name, each in {UNIVERSE: market.spans, **spans}.items()}
    return import_bars(memory_source(BarBlock.from_frame(market.bars)), str(to), universes=universes).uri


def small_config(bars: str | Path, changes: Mapping[str, Any] | None = None) -> Config:
    """Return a GRU of two epochs on such a market; ``changes`` are keys with dots; text is read as if it was typed."""
    config: dict[str, Any] = {
        "data": {
            "bars": str(bars),
            "universe": UNIVERSE,
            "feature_set": {"type": "alpha158", "columns": list(BENCHMARK_20)},
            "step_len": 8,
            "segments": {
                "train": ["2014-01-01", "2015-03-31"],
                "valid": ["2015-04-01", "2015-07-31"],
                "test": ["2015-08-03", "2015-11-30"],
            },
        },
        "model": {"type": "gru", "hidden_size": 8, "num_layers": 1},
        "train": {"max_epochs": 2, "batch_size": 500, "lr": 3e-3},
        "cluster": {"num_workers": 1, "cpus_per_worker": 1},
    }
    typed = {key: value if isinstance(value, str) else json.dumps(value) for key, value in (changes or {}).items()}
    return load_config(config, [f"{key}={value}" for key, value in typed.items()])


def dotted(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Keys as arguments have them, ``train__lr``, with dots."""
    return {key.replace("__", "."): value for key, value in changes.items()}


HOURS = ("10:30:00", "14:00:00", "15:00:00")


def small_hours(days: pd.DatetimeIndex) -> pd.DataFrame:
    """Ten instruments on ``days`` of three hours each."""
    rng = np.random.default_rng(4)
    stamps = [day + hour for day in days for hour in pd.to_timedelta(list(HOURS))]
    parts = []
    for n in range(10):
        close = np.exp(rng.normal(0, 0.01, len(stamps)).cumsum() + 3)
        part = pd.DataFrame({"instrument": f"I{n}", "datetime": stamps, "open": np.roll(close, 1), "close": close})
        part["high"], part["low"] = part[["open", "close"]].max(axis=1) * 1.01, part[["open", "close"]].min(axis=1)
        parts.append(part.assign(volume=rng.lognormal(10, 1, len(stamps))))
    return pd.concat(parts, ignore_index=True)


def days_of_hours(hours: pd.DataFrame) -> pd.DataFrame:
    """The daily bars of hourly ones."""
    keys = ["instrument", hours["datetime"].dt.normalize()]
    parts = {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}
    return hours.groupby(keys).agg(parts).reset_index()


def import_rows(rows: pd.DataFrame, to: str | Path) -> str:
    """Import a frame of bars."""
    return import_bars(memory_source(BarBlock.from_frame(rows)), str(to)).uri


def write_concepts(folder: Path, newer_from: str) -> tuple[str, str]:
    """Write the concepts of thirty instruments, and the same with one more for every third from a day on."""
    frame = pd.DataFrame({"instrument": [f"SYN{i:04d}" for i in range(30)], "start": "2014-01-01", "end": "2016-12-31"})
    frame["concept"] = [f"sector {i % 4}" for i in range(30)]
    newer = pd.concat([frame, frame[::3].assign(concept="theme", start=newer_from)])
    frame.to_csv(folder / "old.csv", index=False)
    newer.to_csv(folder / "new.csv", index=False)
    return str(folder / "old.csv"), str(folder / "new.csv")
