"""What a million windows cost, how that grows, what memory it takes, and what more workers would give.

    python benchmarks/scaling.py [--short] [--device cuda]

Markets of random walks, one thing changed at a time: instruments, dates, features, length of windows. Each in a
process of its own: the size of its panel as ``panel_bytes`` says it beforehand and as it is, the most memory that the
process took for itself, seconds by million windows of training (forward, backward, step) and of scoring (one date at
a time).

For more workers: seconds of a step at ever smaller shares of one batch, measured here on one device. The efficiency for
N of them is **predicted** from these and an exchange of all gradients by a ring, at a bandwidth and a latency that are
assumed and printed; nothing of it is measured on N devices.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks._measure import measured, use_cores
from benchmarks.preparation import config_of, write_market
from benchmarks.scoring import seconds as seconds_to_score
from raybench.allocator import keep_memory
from raybench.cluster.own_memory import OwnMemory, own_mib
from raybench.config import Config
from raybench.config.fused import fused_on_cpu
from raybench.config.panel_spec import PanelSpec
from raybench.feeds.batches import Batch
from raybench.feeds.feeds import resident_feeds
from raybench.feeds.world import SOLO
from raybench.market.bars import open_bars
from raybench.models.fused.choice import fused_layers
from raybench.models.layers.recurrence import run
from raybench.panel.build import build_panel, scoring_panel
from raybench.panel.size import panel_bytes
from raybench.scoring.predictor import Predictor
from raybench.training.network import build_model

BATCH, STEPS, MILLION, MIB = 800, 40, 1e6, 2**20
WORKERS = (1, 2, 4, 8, 16, 32, 64)
LINKS = {"one machine (NVLink)": (200e9, 10e-6), "100 Gbit/s": (10e9, 30e-6), "10 Gbit/s": (1e9, 50e-6)}
"""Bytes a second that an exchange of gradients gets, and seconds for each message: assumed, not measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A market and a panel of it. kind: of ``benchmarks.preparation``."""

    instruments: int = 400
    dates: int = 1_300
    kind: str = "alpha158, 20 columns"

    @property
    def name(self) -> str:
        """For the table."""
        return f"{self.kind}, {self.instruments} x {self.dates}"


BASE = Case()
CASES = (
    BASE,
    *(replace(BASE, instruments=number) for number in (100, 1_600, 5_000)),
    *(replace(BASE, dates=number) for number in (650, 2_600, 5_200)),
    replace(BASE, kind="alpha158"),
    replace(BASE, kind="alpha360"),
)


def main() -> None:
    """Measure each case in a process of its own, then the steps, and print them."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--short", action="store_true", help="two small cases: a trial run, not a figure")
    options.add_argument("--cores", type=int, default=2)
    options.add_argument("--device", default="cpu", help="where steps are timed, cpu or cuda")
    options.add_argument("--one", metavar="CASE", help=argparse.SUPPRESS)
    given = options.parse_args()
    use_cores(given.cores)
    if given.one:
        print(json.dumps(measure(Case(**json.loads(given.one)))))
        return
    cases = (replace(BASE, instruments=50), replace(BASE, instruments=100)) if given.short else CASES
    with measured(f"scaling of GRU, {given.cores} cores, steps on {given.device}") as figures:
        for case in cases:
            command = [sys.executable, "-m", "benchmarks.scaling", "--cores", str(given.cores)]
            done = subprocess.run(
                [*command, "--one", json.dumps(asdict(case))], stdout=subprocess.PIPE, text=True, check=True
            )
            figures[case.name] = json.loads(done.stdout.splitlines()[-1])
            print(case.name, figures[case.name], file=sys.stderr)
        with fused_layers() if given.device == "cpu" else nullcontext():
            figures |= steps_by_share(given.device)


def market_of(folder: str, case: Case) -> Config:
    """Import the market and return the configuration of a training on it."""
    write_market(folder, instruments=case.instruments, dates=case.dates)
    days = open_bars(folder).calendar.astype("datetime64[D]").astype(str).tolist()
    cuts = [days[len(days) * part // 20] for part in (2, 14, 17)]
    after = [str(np.datetime64(day) + 1) for day in cuts]
    config = config_of(folder, case.kind).model_dump(mode="json", by_alias=True)
    config["data"]["segments"] = {
        "train": [after[0], cuts[1]],
        "valid": [after[1], cuts[2]],
        "test": [after[2], days[-1]],
    }
    return Config.model_validate(config)


def measure(case: Case) -> dict[str, float]:
    """Prepare, train some steps, score, and say what it took."""
    with tempfile.TemporaryDirectory() as folder:
        config = market_of(f"{folder}/bars", case)
        spec, bars = PanelSpec.of(config), open_bars(f"{folder}/bars")
        before, began = own_mib(), time.perf_counter()
        with OwnMemory() as preparing:
            panel = build_panel(spec, bars, None)
        prepared = time.perf_counter() - began
        fused = fused_on_cpu(config, panel.counts["train"])
        keep_memory()  # as a training does
        with OwnMemory() as training, fused_layers(fused):
            trained = seconds_to_train(config, panel)
        start, end = config.data.segments.test
        scored = scoring_panel(spec, bars, None, panel.processors, start, end)
    network = build_model(config, panel.columns)
    with OwnMemory() as scoring:
        predictor = Predictor(config, network.state_dict(), scored, fused=fused)
        rates = [seconds_to_score(predictor, scored) for _ in range(2)]
    windows = len(scored.segments["score"].samples)
    return {
        "windows": sum(panel.counts.values()),
        "panel_said_mib": round(panel_bytes(spec, bars, None) / MIB, 1),
        "panel_mib": round(panel.nbytes / MIB, 1),
        "prepare_s": round(prepared, 2),
        "preparing_mib": round(preparing.peak_mib - before),
        "training_mib": round(training.peak_mib - before),
        "scoring_mib": round(scoring.peak_mib - before),
        "train_s_by_million": round(trained * MILLION / BATCH, 1),
        "score_s_by_million": round(min(rates) * MILLION / windows, 1),
    }


def seconds_to_train(config: Config, panel: Any) -> float:
    """Median seconds of a training step over batches out of the whole panel, gathering included."""
    feeds = resident_feeds(config, panel, SOLO, torch.device("cpu"))
    model = build_model(config, panel.columns).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    taken, began = [], time.perf_counter()
    for batch in itertools.islice(repeated(feeds.train), STEPS + 5):
        step(model, optimizer, batch)
        taken.append(time.perf_counter() - began)
        began = time.perf_counter()
    return statistics.median(taken[5:])


def repeated(feed: Any) -> Iterator[Batch]:
    """Full batches, epoch after epoch."""
    for epoch in itertools.count(1):
        yield from (batch for batch in feed.epoch(epoch) if len(batch.label_B) == BATCH)


def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch) -> None:
    """One step of training."""
    loss = nn.functional.mse_loss(batch.inputs.call(model), batch.label_B)
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_value_(model.parameters(), 3.0)
    optimizer.step()


def steps_by_share(device: str) -> dict[str, Any]:
    """Seconds of a step at the share of each of N workers, and the efficiency that is predicted from them."""
    network = nn.GRU(20, 64, 2, batch_first=True).to(device)
    head = nn.Linear(64, 1).to(device)
    parameters = [*network.parameters(), *head.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=1e-3)
    shares = {number: max(BATCH // number, 1) for number in WORKERS}
    taken = {number: seconds_of_step(network, head, optimizer, share, device) for number, share in shares.items()}
    size = sum(value.numel() for value in parameters) * 4
    return {
        "gradient_kib": round(size / 1024, 1),
        "step_ms": {str(number): round(value * 1e3, 2) for number, value in taken.items()},
        "predicted_efficiency": {
            link: {str(number): round(efficiency(taken, number, size, *facts), 2) for number in WORKERS}
            for link, facts in LINKS.items()
        },
    }


def efficiency(taken: Mapping[int, float], number: int, size: int, bandwidth: float, latency: float) -> float:
    """Of N workers: how much of N times one worker's speed they reach, nothing overlapped.

    A ring sends 2 (N - 1) messages of the N-th part of the gradients.
    """
    messages = 2 * (number - 1)
    exchange = messages * (latency + size / number / bandwidth)
    return taken[1] / (number * (taken[number] + exchange))


def seconds_of_step(
    network: nn.GRU, head: nn.Linear, optimizer: torch.optim.Optimizer, share: int, device: str, repeats: int = 60
) -> float:
    """Median seconds of forward, backward and step over ``share`` windows of 20 rows of 20 features."""
    x_BWF, label_B = torch.randn(share, 20, 20, device=device), torch.randn(share, device=device)
    taken: Sequence[float] = []
    for _ in range(repeats):
        began = time.perf_counter()
        output, _ = run(network, x_BWF)
        loss = nn.functional.mse_loss(head(output[:, -1])[:, 0], label_B)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if device != "cpu":
            torch.cuda.synchronize()
        taken = [*taken, time.perf_counter() - began]
    return statistics.median(taken[repeats // 4 :])


if __name__ == "__main__":
    main()
