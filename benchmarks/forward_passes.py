"""Forward passes of recurrent layers: fused ones, torch's own, and ONNX Runtime's, by turns.

    python benchmarks/forward_passes.py [--repeats K] [--short]

Two layers of 64 hidden units over a date's windows, one date of 300 instruments and one batch of 800 windows, as
scoring has them. Milliseconds of the clock, medians of ``--repeats`` turns of several passes each; all sides have the
same number of threads. With several, those of ONNX Runtime stay awake beside the others and slow them down. First it
is shown that all give the same states. Needs no data.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from benchmarks._measure import idle_share, use_cores
from benchmarks.fused_layers import KINDS, layers
from raybench.models.fused.choice import fused_layers
from raybench.models.layers.recurrence import last_hidden

SHAPES = ((20, 20), (158, 20), (6, 60))  # features, rows of a window
BATCHES = (300, 800)
PASSES = 5
Pass = Callable[[], object]


class Last(nn.Module):
    """The last hidden state of the upper layer, to be exported."""

    def __init__(self, rnn: nn.RNNBase) -> None:
        super().__init__()
        self.rnn = rnn

    def forward(self, x_NWF: Tensor) -> Tensor:
        out_NWH: Tensor = self.rnn(x_NWF)[0]
        return out_NWH[:, -1]


def main() -> None:
    """Measure and print a table."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--repeats", type=int, default=9)
    made.add_argument("--threads", type=int, nargs="+", default=[1])  # scoring has one in each process
    made.add_argument("--short", action="store_true", help="a trial run, not a figure")
    given = made.parse_args()
    repeats, idle = 2 if given.short else given.repeats, idle_share()
    print(
        "| layers | threads | windows | features x rows | torch, ms | ONNX Runtime, ms | fused, ms |\n"
        + "|---" * 7
        + "|"
    )
    for threads in given.threads:
        use_cores(threads)
        for kind in KINDS:
            for batch in BATCHES:
                for features, rows in SHAPES:
                    taken = times(kind, torch.randn(batch, rows, features), threads, repeats)
                    cells = [kind, str(threads), str(batch), f"{features} x {rows}", *(f"{ms:.1f}" for ms in taken)]
                    print(f"| {' | '.join(cells)} |", flush=True)
    print(f"\ntorch {torch.__version__}, onnxruntime {onnxruntime.__version__}; medians of {repeats}; ", end="")
    print(f"idle {idle} before, {idle_share()} after")


def times(kind: str, x_NWF: Tensor, threads: int, repeats: int) -> list[float]:
    """Measure all sides by turns -> milliseconds of a pass of torch, ONNX Runtime, and the fused layers."""
    rnn = layers(kind, x_NWF.shape[2]).eval()
    sides: list[Pass] = [torchs(rnn, x_NWF, fused=False), runtime(rnn, x_NWF, threads), torchs(rnn, x_NWF, fused=True)]
    first, *others = (np.asarray(side()) for side in sides)
    for other in others:
        np.testing.assert_allclose(other, first, rtol=1e-4, atol=1e-5)
    turns = [[timed(side) for side in sides] for _ in range(repeats)]
    return [1000 * statistics.median(taken) for taken in zip(*turns, strict=True)]


def torchs(rnn: nn.RNNBase, x_NWF: Tensor, *, fused: bool) -> Pass:
    """A pass of torch's own layers, or of the fused ones."""

    def one() -> object:
        with fused_layers(fused), torch.inference_mode():
            return last_hidden(rnn, x_NWF).numpy()

    return one


def runtime(rnn: nn.RNNBase, x_NWF: Tensor, threads: int) -> Pass:
    """A pass of ONNX Runtime, of the same layers exported."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(action="ignore"):
        file = Path(folder) / "layers.onnx"
        torch.onnx.export(Last(rnn), (x_NWF,), file, dynamo=False, input_names=["x"], output_names=["h"])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        session = onnxruntime.InferenceSession(file.read_bytes(), options, providers=["CPUExecutionProvider"])
    given = {"x": x_NWF.numpy()}
    return lambda: session.run(None, given)[0]


def timed(side: Pass) -> float:
    """Seconds of one pass."""
    began = time.perf_counter()
    for _ in range(PASSES):
        side()
    return (time.perf_counter() - began) / PASSES


if __name__ == "__main__":
    main()
