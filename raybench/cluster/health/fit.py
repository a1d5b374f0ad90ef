"""A training of a few seconds, the whole way: a market, its bars, a panel, a network; its folder goes afterwards."""

from __future__ import annotations

import math
import tempfile
import time
from typing import Any

import torch
from torch import nn

from raybench.cluster.health.outcome import Outcome, well, wrong
from raybench.config import Config, load_config
from raybench.config.panel_spec import PanelSpec
from raybench.drafting.segments import split
from raybench.feeds.feeds import Feeds, resident_feeds
from raybench.feeds.world import SOLO, World
from raybench.market.bars import open_bars
from raybench.market.importing.frames import frame_source
from raybench.market.importing.job import import_bars
from raybench.market.synthetic import make_market
from raybench.panel import Panel
from raybench.panel.build import build_panel
from raybench.progress import SILENT
from raybench.reports.text import numbered
from raybench.storage import files
from raybench.training.rank import fit_rank
from raybench.training.reporter import FunctionReporter
from raybench.training.state import TrainState

SECONDS = 5.0
INSTRUMENTS, YEARS = 30, 1.0


def fit_works() -> Outcome:
    """Train a small GRU on a made-up market for about five seconds, on a GPU if there is one, else on one core.

    One, for on a machine that is busy several threads wait for each other for as long as it is.
    """
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="raybench-") as room:
        began = time.monotonic()
        config = _market(files.join(room, "bars"))
        panel = build_panel(PanelSpec.of(config), open_bars(str(config.data.bars)), None)
        prepared = time.monotonic() - began
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        state = _train(config, panel, device)
    history: list[Any] = state.history
    first, last = history[0].train_loss, history[-1].train_loss
    rate = max(record.samples_per_second for record in history)
    figures = {"device": device.type, "epochs": len(history), "samples_per_second": round(rate), "train_loss": last}
    said = (
        f"{numbered(len(history), 'epoch|epochs')} of a GRU on the {device.type.upper()}, {rate:,.0f} samples a "
        f"second; loss {first:.4f} to {last:.4f}"
    )
    if not math.isfinite(last) or last > first:
        return wrong("fit", f"does not learn: {said}", "run the tests of this installation (make test)", **figures)
    return well("fit", said, **figures, prepared_seconds=round(prepared, 2))


def _train(config: Config, panel: Panel, device: torch.device) -> TrainState:
    """Epoch after epoch until the time is up."""

    def feeds(
        config: Config, world: World, device: torch.device, *, dates: bool, network: nn.Module | None = None
    ) -> Feeds:
        return resident_feeds(config, panel, world, device, dates=dates, network=network)

    until = time.monotonic() + SECONDS
    return fit_rank(
        config,
        panel.columns,
        feeds,
        world=SOLO,
        device=device,
        state=None,
        reporter=FunctionReporter(stop_when=lambda _: time.monotonic() >= until),
        progress=SILENT,
    )


def _market(to: str) -> Config:
    """Import a made-up market, and say what to train on it: raw fields, which need nothing to be compiled."""
    market = make_market(instruments=INSTRUMENTS, years=YEARS)
    import_bars(frame_source(market.bars), to)
    segments = split(market.calendar.to_numpy().astype("datetime64[D]"), where=to)
    return load_config(
        {
            "data": {"bars": to, "feature_set": {"type": "alpha360"}, "segments": segments, "embargo": 2},
            "model": {"type": "gru", "hidden_size": 16, "num_layers": 1},
            "train": {"max_epochs": 1000, "batch_size": 500, "lr": 3e-3, "early_stop": {"patience": 1000}},
        }
    )
