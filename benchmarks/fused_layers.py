"""A step of recurrent layers, forward and backward: fused (``raybench.models.fused``) against torch's own, by turns.

    python benchmarks/fused_layers.py [--repeats K] [--short]

Batch 800, hidden 64, two layers, no dropout; 20 features over 20 rows as on Alpha158, 6 over 60 as on Alpha360. Times
are medians of ``--repeats`` turns of several steps; of one thread its processor's time, so that a busy machine matters
little. Peak memory is that of a process of its own on one thread, above what it held before its first step. Needs no
data.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks._measure import ROOT, idle_share, use_cores
from raybench.allocator import keep_memory
from raybench.models.fused.choice import fused_layers
from raybench.models.layers.recurrence import last_hidden

BATCH, HIDDEN, LAYERS, STEPS = 800, 64, 2, 5
SHAPES = ((20, 20), (6, 60))  # features, rows of a window
KINDS: dict[str, type[nn.RNNBase]] = {"GRU": nn.GRU, "LSTM": nn.LSTM}


def main() -> None:
    """Measure and print the tables, or, in a process of its own, the memory of one side."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--repeats", type=int, default=9)
    made.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    made.add_argument("--short", action="store_true", help="a trial run, not a figure")
    made.add_argument("--memory-of", nargs=4, help=argparse.SUPPRESS)
    given = made.parse_args()
    if given.memory_of:
        kind, features, rows, fused = given.memory_of
        print(json.dumps(peak_mib(kind, int(features), int(rows), fused=fused == "fused")))
        return
    repeats = 2 if given.short else given.repeats
    idle = idle_share()
    sides = "torch, ms | fused, ms | ratio"
    print(f"| layers | threads | features x rows | step: {sides} | forward: {sides} |")
    print("|---" * 9 + "|")
    for threads in given.threads:
        use_cores(threads)
        for kind in KINDS:
            for shape in SHAPES:
                print(times(kind, *shape, threads=threads, repeats=repeats), flush=True)
    print("\n| layers | features x rows | torch, MiB | fused, MiB |\n|---|---|---|---|")
    for kind in KINDS:
        for features, rows in SHAPES:
            sides = [memory(kind, features, rows, side) for side in ("torch", "fused")]
            print(f"| {kind} | {features} x {rows} | {sides[0]:.0f} | {sides[1]:.0f} |", flush=True)
    print(f"\ntorch {torch.__version__}; medians of {repeats}; idle {idle} before, {idle_share()} after")


def times(kind: str, features: int, rows: int, *, threads: int, repeats: int) -> str:
    """Measure both sides by turns -> a row of the table."""
    rnn, x_NWF = layers(kind, features), torch.randn(BATCH, rows, features)
    cells = [kind, str(threads), f"{features} x {rows}"]
    for work in (trained, scored):
        taken: dict[bool, list[float]] = {False: [], True: []}
        for fused in (True, False):
            timed(work, rnn, x_NWF, fused=fused)  # compiled and warm
        for _ in range(repeats):
            for fused, list_ in taken.items():
                list_.append(timed(work, rnn, x_NWF, fused=fused))
        torchs, ours = (1000 * statistics.median(taken[fused]) for fused in (False, True))
        cells += [f"{torchs:.1f}", f"{ours:.1f}", f"{torchs / ours:.2f}"]
    return f"| {' | '.join(cells)} |"


def timed(work: Callable[[nn.RNNBase, Tensor], None], rnn: nn.RNNBase, x_NWF: Tensor, *, fused: bool) -> float:
    """Seconds of one step."""
    with fused_layers(fused):
        clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
        began = clock()
        for _ in range(STEPS):
            work(rnn, x_NWF)
        return (clock() - began) / STEPS


def layers(kind: str, features: int) -> nn.RNNBase:
    """Make the layers."""
    torch.manual_seed(0)
    return KINDS[kind](features, HIDDEN, LAYERS, batch_first=True)  # type: ignore[arg-type]


def trained(rnn: nn.RNNBase, x_NWF: Tensor) -> None:
    """Forward and backward from the last hidden state, what gru and lstm do."""
    rnn.zero_grad()
    last_hidden(rnn, x_NWF).square().mean().backward()


def scored(rnn: nn.RNNBase, x_NWF: Tensor) -> None:
    """Forward alone."""
    with torch.inference_mode():
        last_hidden(rnn, x_NWF)


def memory(kind: str, features: int, rows: int, side: str) -> float:
    """Peak of a process of its own."""
    command = [sys.executable, "-m", "benchmarks.fused_layers", "--memory-of", kind, str(features), str(rows), side]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    return float(json.loads(ended.stdout))


def peak_mib(kind: str, features: int, rows: int, *, fused: bool) -> float:
    """Peak of resident memory over some steps, above what was resident before the first, in MiB."""
    use_cores(1)
    keep_memory()  # as a worker does
    rnn, x_NWF = layers(kind, features), torch.randn(BATCH, rows, features)
    Path("/proc/self/clear_refs").write_text("5")  # a peak begins as that of the process it was forked from
    before = peak()
    with fused_layers() if fused else nullcontext():
        for _ in range(3 * STEPS):
            trained(rnn, x_NWF)
    return peak() - before


def peak() -> float:
    """Largest resident memory of this process so far, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


if __name__ == "__main__":
    main()
