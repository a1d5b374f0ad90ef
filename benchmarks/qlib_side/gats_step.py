"""Qlib's side of ``benchmarks/wide_dates.py``; runs in an environment with pyqlib.

    python gats_step.py CASE_AS_JSON

Prints the seconds of each training step of Qlib's GATs on one date of ``instruments`` windows drawn at random, the
first left out, and the most memory that the process took for them, in MiB.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import torch
from qlib.contrib.model.pytorch_gats_ts import GATs


def main() -> None:
    """Train on the date again and again."""
    case = json.loads(sys.argv[1])
    torch.set_num_threads(case["threads"])
    torch.manual_seed(0)
    sizes = {name: case[name] for name in ("hidden_size", "num_layers", "dropout", "base_model", "lr")}
    model = GATs(d_feat=case["features"], metric="loss", loss="mse", GPU=-1, **sizes)
    date = torch.randn(1, case["instruments"], case["step_len"], case["features"] + 1)
    before, seconds = held_mib("VmRSS"), []
    for _ in range(case["repeats"] + 1):
        began = time.perf_counter()
        model.train_epoch([date])
        seconds.append(time.perf_counter() - began)
    print(json.dumps({"seconds": seconds[1:], "mib": held_mib("VmHWM") - before}))


def held_mib(what: str) -> float:
    """A figure of this process out of what Linux says of it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(what)).split()[1]) / 1024


if __name__ == "__main__":
    main()
