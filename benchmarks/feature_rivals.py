"""Alpha158 in memory: raybench against qweave and KunQuant, which compute the same formulas at other edges.

    python -m venv .venv-rivals && .venv-rivals/bin/pip install qweave==0.6.2 KunQuant==0.1.12
    python benchmarks/feature_rivals.py --rivals-python .venv-rivals/bin/python [--short]

Made-up bars of 300 instruments on 3,000 dates, none missing, from arrays in memory to all features in memory, on
``--cores`` threads; medians of ``--repeats`` computations, each side in a process of its own. KunQuant compiles its
code for the machine before the clock starts, and needs a C++ compiler for that; our kernels are loaded before it, too.
Values are not compared: the rivals' differ from Qlib's at the edges.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._measure import measured, parser, use_cores
from raybench.feature_sets import alpha158
from raybench.market.block import BarBlock

WANTED = 2.0  # times the faster rival


def main() -> None:
    """Run all three and print rows per second and the ratio to the faster rival."""
    options = parser(__doc__)
    options.add_argument("--rivals-python", default=".venv-rivals/bin/python")
    given = options.parse_args()
    use_cores(given.cores)
    dates, instruments = (500, 60) if given.short else (3_000, 300)
    bars, rows = made_up(dates, instruments), dates * instruments
    title = f"Alpha158 of {rows:,} rows without a hole, {given.cores} threads"
    with measured(title) as figures, tempfile.TemporaryDirectory() as room:
        np.savez(f"{room}/bars.npz", **bars)
        ours = computed(bars, given.cores, given.repeats)
        figures |= {"raybench_s": ours, "raybench_rows_per_s": rows / statistics.median(ours)}
        found = {}
        for rival in ("qweave", "kunquant"):
            case = {"rival": rival, "bars": f"{room}/bars.npz", "threads": given.cores, "repeats": given.repeats}
            theirs = run_rival(given.rivals_python, case)
            found[rival] = rows / statistics.median(theirs["seconds"])
            figures |= {f"{rival}_s": theirs["seconds"], f"{rival}_features": theirs["features"]}
            figures[f"{rival}_rows_per_s"] = found[rival]
        figures["over_the_faster"] = figures["raybench_rows_per_s"] / max(found.values())
        figures["over_the_faster_wanted_at_least"] = WANTED


def made_up(dates: int, instruments: int) -> dict[str, np.ndarray[Any, np.dtype[np.float32]]]:
    """Random walks: float32 [dates, instruments] by field."""
    rng = np.random.default_rng(0)
    close = np.exp(rng.normal(0, 0.02, (dates, instruments)).cumsum(axis=0) + 3)
    beside = {name: close * (1 + 0.01 * rng.normal(size=close.shape)) for name in ("open", "vwap")}
    top, bottom = (pick([close, *beside.values()]) for pick in (np.maximum.reduce, np.minimum.reduce))
    fields = {**beside, "close": close, "high": top * 1.001, "low": bottom * 0.999}
    fields["volume"] = rng.lognormal(10, 1, close.shape)
    return {name: values.astype(np.float32) for name, values in fields.items()}


def computed(bars: dict[str, Any], threads: int, repeats: int) -> list[float]:
    """Seconds of each of our computations; the first, which loads the kernels, is left out."""
    dates, instruments = bars["close"].shape
    day_L = np.datetime64("2008-01-01", "us") + np.arange(dates) * np.timedelta64(1, "D")
    block = BarBlock(
        instruments=tuple(f"I{i:05d}" for i in range(instruments)),
        start_N1=np.arange(instruments + 1) * dates,
        datetime_R=np.tile(day_L, instruments),
        fields={name: np.ascontiguousarray(values.T).reshape(-1) for name, values in bars.items()},
    )
    seconds = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        made_FR = alpha158.compute_columns(block, threads=threads)
        seconds.append(time.perf_counter() - began)
        assert made_FR.shape == (158, dates * instruments)
        del made_FR
    return seconds[1:]


def run_rival(python: str, case: dict[str, Any]) -> dict[str, Any]:
    """Run the rivals' script with a case; its last line of output is its figures."""
    script = str(Path(__file__).parent / "rivals_side" / "alpha158.py")
    ended = subprocess.run([python, script, json.dumps(case)], capture_output=True, text=True, check=False)
    if ended.returncode:
        sys.exit(f"{script} failed:\n{ended.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    main()
