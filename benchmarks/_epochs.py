"""One training epoch, three ways: raybench's loop, bare torch over windows in memory, Qlib's ``fit``.

All train on the same samples with the same batch size and threads, then score the validation segment. The bare
loop is given its windows gathered and shuffled beforehand: nothing but the arithmetic is left. Networks that are given
whole dates have no bare loop.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from benchmarks._measure import bars_of, config_of, measured, panel_of, parser, qlib_case, run_qlib, use_cores, windows
from raybench.allocator import keep_memory
from raybench.config import Config
from raybench.config.fused import fused_on_cpu
from raybench.feeds.feeds import resident_feeds
from raybench.feeds.world import SOLO
from raybench.models.fused.choice import fused_layers
from raybench.panel import Panel
from raybench.training.loop import fit
from raybench.training.network import build_model

CPU = torch.device("cpu")


def compare_epochs(doc: str | None, feature_set: str, *, wanted: Mapping[str, float]) -> None:
    """Run the turns and print the fastest epoch of each side and the ratios; ``wanted``: of Qlib's, by network."""
    options = parser(doc)
    options.add_argument("--network", choices=list(wanted), default=next(iter(wanted)))
    options.add_argument("--qlib-jobs", type=int, nargs="+", default=[0, 20], help="loader processes; fastest counts")
    given = options.parse_args()
    use_cores(given.cores)
    name = f"{given.network}_{feature_set}"
    with measured(f"{name}: one epoch of training plus validation, {given.cores} cores") as figures:
        with bars_of(given.provider) as bars:
            config = config_of(name, bars, short=given.short)
            panel = panel_of(config, bars)
        figures |= {f"{segment}_samples": count for segment, count in panel.counts.items()}
        keep_memory()  # as every training does; the bare loop gains as well
        ours, bare = _by_turns(config, panel, given.repeats)
        case = qlib_case(config, given.provider, epochs=given.repeats, jobs=given.qlib_jobs, predict=0)
        theirs = run_qlib(given.qlib_python, "train.py", case)
        if theirs["train_samples"] != panel.counts["train"]:
            raise SystemExit(f"Qlib trains on {theirs['train_samples']} samples: not the same work")
        figures |= {"raybench_s": min(ours), "qlib_s": min(theirs["epoch_s"])}
        figures |= {"all_raybench_s": ours, "all_qlib_s": theirs["epoch_s"]}
        figures |= {"of_qlib": min(ours) / min(theirs["epoch_s"]), "of_qlib_wanted_at_most": wanted[given.network]}
        if bare:
            figures |= {"bare_torch_s": min(bare), "all_bare_torch_s": bare, "of_bare_torch": min(ours) / min(bare)}


def _by_turns(config: Config, panel: Panel, repeats: int) -> tuple[list[float], list[float]]:
    ours, bare = [], []
    if config.model.batches == "dates":
        return [our_epoch(config, panel) for _ in range(repeats)], []
    x_SWF, valid_x_SWF = windows(panel, "train"), windows(panel, "valid")
    label_S = torch.from_numpy(panel.segments["train"].samples.label_S)
    order_S = torch.randperm(len(label_S))
    x_SWF, label_S = x_SWF[order_S], label_S[order_S]
    for _ in range(repeats):
        ours.append(our_epoch(config, panel))
        bare.append(bare_epoch(config, panel, x_SWF, label_S, valid_x_SWF))
    return ours, bare


def our_epoch(config: Config, panel: Panel) -> float:
    """Seconds of one epoch of raybench's loop in this process."""
    feeds = resident_feeds(config, panel, SOLO, CPU)
    one = config.train.model_copy(update={"max_epochs": 1})
    with fused_layers(fused_on_cpu(config, feeds.windows)):
        return fit(build_model(config, panel.columns), feeds, one, recipe=config.recipe).history[0].seconds


def bare_epoch(config: Config, panel: Panel, x_SWF: Tensor, label_S: Tensor, valid_x_SWF: Tensor) -> float:
    """Seconds of the arithmetic alone."""
    model, size = build_model(config, panel.columns), config.train.batch_size
    optimizer = torch.optim.Adam(model.parameters(), lr=config.train.lr)
    began = time.perf_counter()
    model.train()
    for x_BWF, label_B in zip(x_SWF.split(size), label_S.split(size), strict=True):
        loss = nn.functional.mse_loss(model(x_BWF), label_B)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_value_(model.parameters(), 3.0)
        optimizer.step()
    bare_forward(model, valid_x_SWF.split(size))
    return time.perf_counter() - began


@torch.no_grad()
def bare_forward(model: nn.Module, batches: tuple[Tensor, ...]) -> float:
    """Seconds of the forward passes over ready batches."""
    model.eval()
    began = time.perf_counter()
    for x_BWF in batches:
        model(x_BWF)
    return time.perf_counter() - began
