"""What a second window of hourly bars adds to daily windows: Rank IC of ``gru`` with and without it.

    python benchmarks/two_frequencies.py [--seeds 3] [--epochs 15] [--hours ../shared/intraday/us_lean_hour.parquet]

Two markets. *planted*: four synthetic bars a day; the return from t+1 to t+2 holds a part that day t shows, its return,
and one of equal size that only its hours show, the return of the last less that of the first. *lean*: the real hourly
bars of ``--hours`` (five US instruments, stamped with the start of the hour; VXX, which has no factor, is left out),
days made of them; skipped where the file is not there.

Each seed has weights, and of the planted market bars, of its own, the same with and without the second window. Prints
a Markdown table: means and standard deviations over the seeds, and what the planted parts themselves reach on the test
segments. Nothing was tuned.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from recurrent_options import shown

from raybench.config import load_config
from raybench.config.data.alpha_names import BENCHMARK_20
from raybench.config.panel_spec import PanelSpec
from raybench.feeds.batches import ResidentEvaluation
from raybench.feeds.feeds import resident_feeds
from raybench.feeds.world import SOLO
from raybench.market.bars import BarBlock, open_bars
from raybench.market.importing.job import import_bars
from raybench.market.sources import memory_source
from raybench.metrics.signal import rank_correlations
from raybench.panel.build import build_panel
from raybench.training.loop import fit
from raybench.training.network import build_model
from raybench.training.validation import validate

CPU = torch.device("cpu")
CLOSES = pd.to_timedelta(["10:30:00", "11:30:00", "14:00:00", "15:00:00"])
INSTRUMENTS, DATES = 60, 900
HOURLY = ["KMID", "KLEN", "KLOW", "KUP", "ROC5", "STD5", "VSTD5"]
PLANTED = {
    "train": ["2014-03-03", "2016-06-30"],
    "valid": ["2016-07-01", "2016-12-30"],
    "test": ["2017-01-02", "2017-06-01"],
}
LEAN = {
    "train": ["1998-06-01", "2010-12-31"],
    "valid": ["2011-01-03", "2014-12-31"],
    "test": ["2015-01-02", "2021-03-26"],
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """Hourly bars, the segments to use, how many hours a second window has, and when a bar is known.

    attainable: test Rank IC of the planted part that days show, and of both parts.
    """

    hours: pd.DataFrame
    segments: dict[str, list[str]]
    step_len: int
    lag_minutes: int = 0
    attainable: tuple[float, float] | None = None


def main() -> None:
    """Train with and without the second window on every market and seed, and print the table."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--seeds", type=int, default=3)
    made.add_argument("--epochs", type=int, default=15)
    made.add_argument("--hours", default=str(Path(__file__).parents[2] / "shared/intraday/us_lean_hour.parquet"))
    given = made.parse_args()
    torch.set_num_threads(1)
    print("| market | windows | valid Rank IC | test Rank IC |\n|---|---|---|---|")
    report("planted", [planted(seed) for seed in range(given.seeds)], given.epochs)
    if Path(given.hours).exists():
        report("lean", [lean(given.hours)] * given.seeds, given.epochs)


def report(name: str, markets: list[Market], epochs: int) -> None:
    """Print two lines of the table."""
    runs = [trained(market, seed, epochs) for seed, market in enumerate(markets)]
    for windows in ("days", "days and hours"):
        valid, test = (shown([run[windows][i] for run in runs]) for i in (0, 1))
        print(f"| {name} | {windows} | {valid} | {test} |", flush=True)
    known = [market.attainable for market in markets if market.attainable is not None]
    for i, what in enumerate(("what days show", "what days and hours show") if known else ()):
        print(f"| {name} | attainable: {what} | - | {shown([pair[i] for pair in known])} |", flush=True)


def trained(market: Market, seed: int, epochs: int) -> dict[str, tuple[float, float]]:
    """Train on days alone, then on days and hours -> Rank IC of the best weights on both segments."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        days, hours = imported(daily(market.hours), f"{folder}/days"), imported(market.hours, f"{folder}/hours")
        second = {
            "bars": hours,
            "feature_set": {"type": "alpha158", "columns": HOURLY},
            "step_len": market.step_len,
            "lag_minutes": market.lag_minutes,
        }
        for windows, value in (("days", None), ("days and hours", second)):
            data: dict[str, Any] = {
                "bars": days,
                "feature_set": {"type": "alpha158", "columns": list(BENCHMARK_20)},
                "step_len": 10,
                "segments": market.segments,
                "second": value,
            }
            config = load_config(
                {
                    "data": data,
                    "model": {"type": "gru", "hidden_size": 16, "num_layers": 1},
                    "train": {
                        "max_epochs": epochs,
                        "lr": 3e-3,
                        "seed": seed,
                        "early_stop": {"metric": "rank_ic", "patience": 5},
                    },
                }
            )
            panel = build_panel(PanelSpec.of(config), open_bars(days), None, segments=("train", "valid", "test"))
            model = build_model(config, panel.columns)
            state = fit(model, resident_feeds(config, panel, SOLO, CPU), config.train)
            model.load_state_dict(state.best_weights)
            feed = ResidentEvaluation(panel.segments["test"], batch_size=4096, world=SOLO, device=CPU)
            test = validate(model, feed, SOLO, autocast=None, qlib_batch=None)
            found[windows] = (state.best_record().valid_rank_ic, test.rank_ic)
    return found


def planted(seed: int) -> Market:
    """Draw a market whose daily return two dates on holds what its days and its hours show, in equal parts."""
    rng = np.random.default_rng(seed)
    hours = len(CLOSES)
    return_THN = 0.01 * rng.standard_normal((DATES, hours, INSTRUMENTS))
    day_TN, hours_TN = np.zeros((2, DATES, INSTRUMENTS))
    for t in range(DATES):
        if t >= 2:
            return_THN[t] += 0.1 * 0.01 * np.sqrt(hours) * (day_TN[t - 2] + hours_TN[t - 2]) / hours
        day_TN[t] = return_THN[t].sum(axis=0) / (0.01 * np.sqrt(hours))
        hours_TN[t] = (return_THN[t, -1] - return_THN[t, 0]) / (0.01 * np.sqrt(2))
    log_close_LN = np.log(20) + return_THN.reshape(-1, INSTRUMENTS).cumsum(axis=0)
    log_open_LN = np.vstack([np.full((1, INSTRUMENTS), np.log(20)), log_close_LN[:-1]])
    upper_LN, lower_LN = 0.002 * rng.exponential(size=(2, *log_close_LN.shape))
    days = pd.bdate_range("2014-01-01", periods=DATES)
    values = {
        "open": np.exp(log_open_LN),
        "high": np.exp(np.maximum(log_open_LN, log_close_LN) + upper_LN),
        "low": np.exp(np.minimum(log_open_LN, log_close_LN) - lower_LN),
        "close": np.exp(log_close_LN),
        "volume": np.rint(rng.lognormal(10, 0.5, log_close_LN.shape)),
    }
    frame = pd.DataFrame({name: value_LN.T.ravel() for name, value_LN in values.items()})
    frame["instrument"] = np.repeat([f"P{k:03d}" for k in range(INSTRUMENTS)], DATES * hours)
    frame["datetime"] = np.tile([day + close for day in days for close in CLOSES], INSTRUMENTS)
    label_TN = np.roll(return_THN.sum(axis=1), -2, axis=0)
    test_T = (days >= PLANTED["test"][0]) & (days <= PLANTED["test"][1])
    known = (day_TN[test_T], day_TN[test_T] + hours_TN[test_T])
    of_days, of_both = (float(rank_correlations(part_TN, label_TN[test_T]).mean()) for part_TN in known)
    return Market(hours=frame, segments=PLANTED, step_len=2 * hours, attainable=(of_days, of_both))


def lean(path: str) -> Market:
    """Read the real hours of what has a factor, which makes its prices comparable over time."""
    frame = pd.read_parquet(path).dropna(subset=["factor"])
    factor_R = frame.pop("factor")
    for name in ("open", "high", "low", "close"):
        frame[name] *= factor_R
    return Market(hours=frame, segments=LEAN, step_len=21, lag_minutes=60)


def daily(hours: pd.DataFrame) -> pd.DataFrame:
    """Make days of hours."""
    keys = ["instrument", hours["datetime"].dt.normalize()]
    parts = {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}
    return hours.sort_values(["instrument", "datetime"]).groupby(keys).agg(parts).reset_index()


def imported(bars: pd.DataFrame, to: str) -> str:
    """Import bars in memory."""
    return import_bars(memory_source(BarBlock.from_frame(bars)), to).uri


if __name__ == "__main__":
    main()
