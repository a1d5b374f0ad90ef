"""Training samples per second on one CUDA card: raybench against Qlib's loop, both feature sets.

    python benchmarks/gpu.py [--short]

Also the share of an epoch in which the card waits for data: what the training steps take longer than as many steps
on one batch that is gathered already. Without a CUDA device it says that it was not run. Qlib's environment
needs a torch build that knows the card.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from benchmarks._measure import bars_of, config_of, measured, panel_of, parser, qlib_case, run_qlib
from raybench.config import Config
from raybench.feeds.batches import Batch, TrainingFeed
from raybench.feeds.feeds import resident_feeds
from raybench.feeds.world import SOLO
from raybench.panel import Panel
from raybench.training.loop import fit
from raybench.training.network import build_model

CUDA = torch.device("cuda")


def main() -> None:
    """Run both feature sets on both sides."""
    options = parser(__doc__)
    options.add_argument("--qlib-jobs", type=int, nargs="+", default=[20], help="loader processes; fastest counts")
    given = options.parse_args()
    if not torch.cuda.is_available():
        print("not run: no CUDA device")
        return
    with bars_of(given.provider) as bars:
        for name in ("gru_alpha158", "gru_alpha360"):
            config = config_of(name, bars, short=given.short)
            panel = panel_of(config, bars)
            with measured(f"{name} on {torch.cuda.get_device_name()}") as figures:
                samples = panel.counts["train"]
                epoch, waiting = our_epoch(config, panel, given.repeats)
                figures |= {"train_samples": samples, "raybench_s": epoch, "share_of_waiting": waiting}
                case = qlib_case(
                    config, given.provider, epochs=given.repeats, jobs=given.qlib_jobs, predict=0, device=0
                )
                theirs = min(run_qlib(given.qlib_python, "train.py", case)["epoch_s"])
                figures |= {"qlib_s": theirs, "raybench_samples_per_s": samples / epoch}
                figures |= {"qlib_samples_per_s": samples / theirs, "over_qlib": theirs / epoch}


def our_epoch(config: Config, panel: Panel, repeats: int) -> tuple[float, float]:
    """Fastest seconds of an epoch, and the share of its training steps that is waiting for data."""
    feeds = resident_feeds(config, panel, SOLO, CUDA)
    model = build_model(config, panel.columns).to(CUDA)
    options = config.train.model_copy(update={"max_epochs": repeats})
    epochs = fit(model, feeds, options, recipe=config.recipe).history
    ready = SameBatch(next(feeds.train.epoch(1)), feeds.train.steps() or 0)
    fed = min(training_seconds(config, panel, feeds.train) for _ in range(repeats))
    still = min(training_seconds(config, panel, ready) for _ in range(repeats))
    return min(epoch.seconds for epoch in epochs), max(0.0, 1.0 - still / fed)


@dataclass(frozen=True)
class SameBatch:
    """As many batches as an epoch has, all of them the same one."""

    batch: Batch
    number: int

    def steps(self) -> int:
        return self.number

    def epoch(self, epoch: int) -> Iterator[Batch]:
        for _ in range(self.number):
            yield replace(self.batch)


def training_seconds(config: Config, panel: Panel, feed: TrainingFeed) -> float:
    """Seconds of one pass of training steps, without validation."""
    model = build_model(config, panel.columns).to(CUDA).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=config.train.lr)
    torch.cuda.synchronize()
    began = time.perf_counter()
    for batch in feed.epoch(1):
        torch.nn.functional.mse_loss(batch.inputs.call(model), batch.label_B).backward()
        torch.nn.utils.clip_grad_value_(model.parameters(), 3.0)
        optimizer.step()
        optimizer.zero_grad()
    torch.cuda.synchronize()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
