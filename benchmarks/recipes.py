"""What Qlib's defects cost: the same network, data, seed and epochs under both recipes; Rank IC on the test segment.

    python benchmarks/recipes.py [--networks krnn_alpha360 tcn_alpha158 gats_alpha158] [--epochs N] [--train FIRST LAST]

Under ``recipe: qlib`` the network, its batches and its windows are as wrong as Qlib's; see
docs/differences-from-qlib.md. Networks that take whole dates are scored twice under it: given the batches that Qlib
cuts, as Qlib scores, and given whole dates.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from typing import Any

import torch

from benchmarks._epochs import CPU
from benchmarks._measure import bars_of, config_of, panel_of, parser, use_cores
from raybench.config import Config
from raybench.feeds.batches import EvaluationFeed, ResidentEvaluation
from raybench.feeds.dates import DateEvaluation, groups_of
from raybench.feeds.feeds import resident_feeds
from raybench.feeds.world import SOLO
from raybench.market.bars import Bars
from raybench.models import takes_dates
from raybench.panel import Panel
from raybench.training.loop import fit
from raybench.training.network import build_model
from raybench.training.reporter import FunctionReporter
from raybench.training.state import TrainState
from raybench.training.validation import validate

RECIPES = ("raybench", "qlib")


def main() -> None:
    """Train every network under both recipes and print one table."""
    given = _options()
    use_cores(given.cores)
    print("| network | recipe | test scored in | epochs | best | IC | Rank IC | seconds |")
    print("|---|---|---|---|---|---|---|---|")
    with bars_of(given.provider) as bars:
        for name in given.networks:
            for recipe in RECIPES:
                for row in _rows(name, recipe, bars, given):
                    print("| " + " | ".join(row) + " |", flush=True)


def _options() -> Any:
    options: argparse.ArgumentParser = parser(__doc__)
    options.add_argument("--networks", nargs="+", default=["krnn_alpha360", "tcn_alpha158", "gats_alpha158"])
    options.add_argument("--epochs", type=int, default=5)
    options.add_argument("--train", nargs=2, default=["2012-01-01", "2014-12-31"], metavar=("FIRST", "LAST"))
    options.add_argument("--seed", type=int, default=0)
    return options.parse_args()


def _rows(name: str, recipe: str, bars: Bars, given: Any) -> Iterator[list[str]]:
    overrides = [
        f"recipe={recipe}",
        f"data.segments.train=[{given.train[0]}, {given.train[1]}]",
        f"train.max_epochs={given.epochs}",
        f"train.seed={given.seed}",
    ]
    config = config_of(name, bars, short=False, overrides=overrides)
    panel = panel_of(config, bars, segments=("train", "valid", "test"))
    model = build_model(config, panel.columns)
    began = time.perf_counter()
    feeds = resident_feeds(config, panel, SOLO, CPU, dates=takes_dates(model))
    state = fit(
        model,
        feeds,
        config.train,
        recipe=recipe,
        reporter=FunctionReporter(on_epoch=lambda reached: _say(name, recipe, reached)),
    )
    seconds = time.perf_counter() - began
    model.load_state_dict(state.best_weights)
    for how, feed in _tests(config, panel, model):
        found = validate(model, feed, SOLO, autocast=None, qlib_batch=None)
        measured = [f"{found.ic:.4f}", f"{found.rank_ic:.4f}", f"{seconds:.0f}"]
        yield [name, recipe, how, str(len(state.history)), str(state.best_epoch), *measured]


def _say(name: str, recipe: str, reached: TrainState) -> None:
    last = reached.history[-1]
    text = f"{name} {recipe} epoch {last.epoch}: {last.seconds:.0f} s, valid Rank IC {last.valid_rank_ic:.4f}"
    print(text, file=sys.stderr, flush=True)


def _tests(config: Config, panel: Panel, model: torch.nn.Module) -> Iterator[tuple[str, EvaluationFeed]]:
    test = panel.segments["test"]
    if not takes_dates(model):
        yield "windows", ResidentEvaluation(test, batch_size=4096, world=SOLO, device=CPU)
        return
    yield "whole dates", DateEvaluation(test, groups_of(test, qlib_cuts=False), world=SOLO, device=CPU)
    if config.recipe == "qlib":
        yield "Qlib's cuts", DateEvaluation(test, groups_of(test, qlib_cuts=True), world=SOLO, device=CPU)


if __name__ == "__main__":
    main()
