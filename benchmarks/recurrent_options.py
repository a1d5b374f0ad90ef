"""What each option of ``gru`` does for Rank IC, on synthetic markets with a planted signal.

    python benchmarks/recurrent_options.py [--seeds 4] [--epochs 8] [--instruments 50] [--years 5] [--only OPTION ...]

Each seed has a market and initial weights of its own, the same for every option, so options are compared seed
by seed with the plain network. Early stopping on validation Rank IC as in the demo; the test segment is scored
with the best weights. Prints a Markdown table: means and standard deviations over the seeds, the difference to
the plain network with its standard error, and CPU seconds of an epoch, training plus validation.

The rates are those commonly used, fixed before the first run; nothing was tuned.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch

from raybench.cluster.jobs.demo import demo_config
from raybench.config import Config, load_config
from raybench.config.data.label import DEFAULT_LABEL
from raybench.config.panel_spec import PanelSpec
from raybench.feeds.batches import ResidentEvaluation
from raybench.feeds.feeds import resident_feeds
from raybench.feeds.world import SOLO
from raybench.market.bars import Bars, open_bars
from raybench.market.importing.job import import_bars
from raybench.market.sources import open_source
from raybench.market.synthetic import UNIVERSE, Market, make_market
from raybench.market.universe import universe_of_frame
from raybench.panel import Panel
from raybench.panel.build import build_panel
from raybench.training.loop import fit
from raybench.training.network import build_model
from raybench.training.validation import validate

CPU = torch.device("cpu")
PLAIN = "plain"
OPTIONS: dict[str, dict[str, Any]] = {
    PLAIN: {},
    "pooling: attention": {"pooling": "attention"},
    "variational_dropout: 0.2": {"variational_dropout": 0.2},
    "recurrent_dropconnect: 0.5": {"recurrent_dropconnect": 0.5},
    "zoneout: 0.1": {"zoneout": 0.1},
    "layer_norm: true": {"layer_norm": True},
    "bidirectional: true": {"bidirectional": True},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """Rank IC of the best weights on both segments, and the CPU seconds of a mean epoch."""

    valid: float
    test: float
    epoch_s: float


def main() -> None:
    """Train every option on every market and print the table."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--seeds", type=int, default=4)
    made.add_argument("--epochs", type=int, default=8)
    made.add_argument("--instruments", type=int, default=50)
    made.add_argument("--years", type=float, default=5.0)
    made.add_argument("--threads", type=int, default=1)
    made.add_argument("--only", nargs="+", metavar="OPTION", choices=[name.partition(":")[0] for name in OPTIONS])
    given = made.parse_args()
    torch.set_num_threads(given.threads)
    wanted = [name for name in OPTIONS if name == PLAIN or not given.only or name.partition(":")[0] in given.only]
    runs: dict[str, list[Trained]] = {name: [] for name in wanted}
    attainable = []
    for seed in range(given.seeds):
        market = make_market(seed, instruments=given.instruments, years=given.years)
        with tempfile.TemporaryDirectory() as folder:
            bars = bars_of(market, Path(folder))
            config = config_of(market, bars, seed=seed, epochs=given.epochs)
            panel = build_panel(PanelSpec.of(config), bars, None, segments=("train", "valid", "test"))
        first, last = config.data.segments.test
        attainable.append(market.attainable(str(first), str(last)))
        for name in wanted:
            runs[name].append(trained(config, panel, OPTIONS[name]))
            print(f"seed {seed}, {name}: {runs[name][-1]}", flush=True)
    print(f"\n{panel.counts['train']:,} training windows a seed; attainable on test: {mean(attainable):.4f}\n")
    print("\n".join(table(runs)))


def bars_of(market: Market, folder: Path) -> Bars:
    """Import a market the way a user would bring it."""
    market.bars.to_parquet(folder / "market.parquet", index=False)
    universe = universe_of_frame(UNIVERSE, market.spans)
    source = open_source(str(folder / "market.parquet"), "parquet")
    return open_bars(import_bars(source, str(folder / "bars"), universes={UNIVERSE: universe}).uri)


def config_of(market: Market, bars: Bars, *, seed: int, epochs: int) -> Config:
    """The demo's configuration with two layers and another seed, features computed here."""
    demo = demo_config(market, bars=bars.uri, features="none")
    changes = ["data.features=null", f"data.label='{DEFAULT_LABEL}'", "model.num_layers=2"]
    return load_config(demo, [*changes, f"train.seed={seed}", f"train.max_epochs={epochs}"])


def trained(config: Config, panel: Panel, keys: dict[str, Any]) -> Trained:
    """Train the network with some options on and score the test segment with its best weights."""
    config = load_config(config, [f"model.{key}={str(value).lower()}" for key, value in keys.items()])
    model = build_model(config, panel.columns)
    began = time.process_time()
    state = fit(model, resident_feeds(config, panel, SOLO, CPU), config.train)
    seconds = (time.process_time() - began) / state.epoch
    model.load_state_dict(state.best_weights)
    feed = ResidentEvaluation(panel.segments["test"], batch_size=4096, world=SOLO, device=CPU)
    test = validate(model, feed, SOLO, autocast=None, qlib_batch=None)
    return Trained(valid=state.best_record().valid_rank_ic, test=test.rank_ic, epoch_s=seconds)


def table(runs: dict[str, list[Trained]]) -> list[str]:
    """Lines of a Markdown table, one per option."""
    lines = ["| option | valid Rank IC | test Rank IC | test, less plain | CPU s per epoch |", "|---|---|---|---|---|"]
    for name, found in runs.items():
        valid, test = ([getattr(run, field) for run in found] for field in ("valid", "test"))
        gains = [run.test - plain.test for run, plain in zip(found, runs[PLAIN], strict=True)]
        gain = "-" if name == PLAIN else f"{mean(gains):+.4f} +- {spread(gains) / len(gains) ** 0.5:.4f}"
        epoch = min(run.epoch_s for run in found)
        lines.append(f"| {name} | {shown(valid)} | {shown(test)} | {gain} | {epoch:.2f} |")
    return lines


def shown(values: list[float]) -> str:
    """Mean and standard deviation."""
    return f"{mean(values):.4f} +- {spread(values):.4f}"


def spread(values: list[float]) -> float:
    """Standard deviation over seeds; that of one value is not known."""
    return stdev(values) if len(values) > 1 else float("nan")


if __name__ == "__main__":
    main()
