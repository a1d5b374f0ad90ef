"""The rivals' side of ``benchmarks/feature_rivals.py``; runs in an environment with qweave and KunQuant.

    python alpha158.py CASE_AS_JSON

The case: rival, bars (a .npz of float32 [dates, instruments] by field), threads, repeats. Prints the seconds of each
computation of Alpha158 into memory, the first left out, and the number of features. What each of them needs beforehand
(a table that is sorted, compiled code) is made outside the clock.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Mapping

import numpy as np


def main() -> None:
    """Compute as the case says and print the figures."""
    case = json.loads(sys.argv[1])
    os.environ["POLARS_MAX_THREADS"] = os.environ["RAYON_NUM_THREADS"] = str(case["threads"])
    with np.load(case["bars"]) as bars, contextlib.redirect_stdout(sys.stderr):
        prepared = {"qweave": of_qweave, "kunquant": of_kunquant}[case["rival"]](dict(bars), case["threads"])
        seconds = []
        for _ in range(case["repeats"] + 1):
            began = time.perf_counter()
            features = prepared()
            seconds.append(time.perf_counter() - began)
    print(json.dumps({"seconds": seconds[1:], "features": features}))


def of_qweave(bars: Mapping[str, np.ndarray], threads: int) -> Callable[[], int]:
    """A Polars table by instrument and date, float64 as qweave computes."""
    import polars as pl
    import qweave as qw

    dates, instruments = bars["close"].shape
    columns = {name: np.ascontiguousarray(values.T).reshape(-1).astype(np.float64) for name, values in bars.items()}
    keys = {
        "asset": np.repeat([f"I{i:05d}" for i in range(instruments)], dates),
        "date": np.tile(np.arange(dates, dtype=np.int64), instruments),
    }
    table = pl.DataFrame({**keys, **columns})

    def compute() -> int:
        made = qw.compute_alphas(table, "asset", "date", qw.qlib_alpha158({}))
        assert made.height == dates * instruments
        return made.width - 2

    return compute


def of_kunquant(bars: Mapping[str, np.ndarray], threads: int) -> Callable[[], int]:
    """Compiled for this processor, single precision, [dates, instruments] in and out as its README shows."""
    from KunQuant.Driver import KunCompilerConfig
    from KunQuant.jit import cfake
    from KunQuant.Op import Builder, Input, Output
    from KunQuant.predefined import Alpha158
    from KunQuant.runner import KunRunner
    from KunQuant.Stage import Function

    builder = Builder()
    with builder:
        named = {name: Input(name) for name in ("open", "close", "high", "low", "volume", "amount")}
        fields = Alpha158.AllData(**named)
        prices = [(name.upper(), getattr(fields, name)) for name in ("open", "high", "low", "vwap")]
        made, names = fields.build({"kbar": {}, "price": {"windows": [0], "feature": prices}, "rolling": {}})
        for name, value in zip(names, made, strict=True):
            Output(value, name)
    how = KunCompilerConfig(input_layout="TS", output_layout="TS")
    library = cfake.compileit([("alpha158", Function(builder.ops), how)], "alpha158", cfake.CppCompilerConfig())
    module, team = library.getModule("alpha158"), KunRunner.createMultiThreadExecutor(threads)
    given = {name: np.ascontiguousarray(bars[name]) for name in bars if name != "vwap"}
    given["amount"] = np.ascontiguousarray(bars["vwap"] * bars["volume"])
    dates = len(bars["close"])

    def compute() -> int:
        return len(KunRunner.runGraph(team, module, given, 0, dates))

    return compute


if __name__ == "__main__":
    main()
