"""A training step of GATs on a date of a whole market: raybench against Qlib's GATs.

    python benchmarks/wide_dates.py [--instruments N] [--short]

One date of 3,800 instruments, windows of 20 rows of 20 features drawn at random, the hyper-parameters of
``configs/gats_alpha158.yaml``; each side in a process of its own on ``--cores`` threads. Seconds of a step, medians of
``--repeats``, and the most memory that the steps took. Qlib forms all pairs of hidden states, 7 GB of them.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from typing import Any

import torch

from benchmarks._measure import ROOT, held_mib, measured, parser, run_qlib, use_cores
from raybench.allocator import keep_memory
from raybench.config import load_config
from raybench.models.fused.choice import fused_layers
from raybench.training.network import build_model

INSTRUMENTS, WANTED_SPEED, WANTED_MEMORY = 3_800, 5.0, 0.1


def main() -> None:
    """Run both sides and print seconds, memory and their ratios."""
    options = parser(__doc__)
    options.add_argument("--instruments", type=int, default=INSTRUMENTS)
    options.add_argument("--one", action="store_true", help="our side alone, in this process")
    given = options.parse_args()
    use_cores(given.cores)
    instruments = 500 if given.short else given.instruments
    if given.one:
        print(json.dumps(steps(instruments, given.repeats)))
        return
    title = f"a step of GATs on a date of {instruments:,} instruments, {given.cores} cores"
    with measured(title) as figures:
        command = [sys.executable, "-m", "benchmarks.wide_dates", "--one", "--instruments", str(instruments)]
        command += ["--cores", str(given.cores), "--repeats", str(given.repeats)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT)
        ours = json.loads(done.stdout.splitlines()[-1])
        theirs = run_qlib(given.qlib_python, "gats_step.py", case_of(instruments, given.repeats, given.cores))
        for side, found in (("raybench", ours), ("qlib", theirs)):
            figures |= {f"{side}_s": statistics.median(found["seconds"]), f"{side}_mib": found["mib"]}
        figures["over_qlib"] = figures["qlib_s"] / figures["raybench_s"]
        figures["over_qlib_wanted_at_least"] = WANTED_SPEED
        figures["memory_of_qlib"] = figures["raybench_mib"] / figures["qlib_mib"]
        figures["memory_of_qlib_wanted_at_most"] = WANTED_MEMORY


def case_of(instruments: int, repeats: int, threads: int) -> dict[str, Any]:
    """What Qlib's side is told."""
    config = load_config(ROOT / "configs" / "gats_alpha158.yaml")
    sizes = {name: value for name, value in config.model.kwargs.items() if name != "pretrained"}
    shape = {"features": config.data.num_features, "step_len": config.data.step_len, "instruments": instruments}
    return {**sizes, **shape, "lr": config.train.lr, "repeats": repeats, "threads": threads}


def steps(instruments: int, repeats: int) -> dict[str, Any]:
    """Seconds of each of our steps, the first left out, and the memory that they took."""
    config = load_config(ROOT / "configs" / "gats_alpha158.yaml")
    features = config.data.num_features
    torch.manual_seed(0)
    model = build_model(config, [f"F{i}" for i in range(features)]).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=config.train.lr)
    x_NWF, label_N = torch.randn(instruments, config.data.step_len, features), torch.randn(instruments)
    keep_memory()  # as a training does
    before, seconds = held_mib("VmRSS"), []
    with fused_layers():
        for _ in range(repeats + 1):
            began = time.perf_counter()
            loss = torch.nn.functional.mse_loss(model(x_NWF, (instruments,)), label_N)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_value_(model.parameters(), 3.0)
            optimizer.step()
            seconds.append(time.perf_counter() - began)
    return {"seconds": seconds[1:], "mib": held_mib("VmHWM") - before}


if __name__ == "__main__":
    main()
