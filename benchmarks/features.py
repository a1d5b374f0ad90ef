"""Building Alpha158: raybench against Qlib's handler, on the same bars, rows and cores.

    python benchmarks/features.py [--short]

In process: from data on disk to a table of 158 features and the label in memory; imports, start-up and, on our
side, loading the compiled kernels are not counted. Whole command: ``raybench features`` against a script that
builds the handler and writes it to Parquet, from the start of the interpreter to its end. Medians of
``--repeats`` runs, the two sides by turns.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks._measure import bars_of, measured, median_of, parser, run_qlib, use_cores
from raybench.feature_sets.build import part_table, plan_features
from raybench.market.bars import Bars

UNIVERSE = "csi300"
FULL = {"start": "2008-01-01", "end": "2020-08-01"}
SHORT = {"start": "2018-08-01", "end": "2020-08-01"}


def main() -> None:
    """Run both sides by turns and print rows per second, seconds and their ratios."""
    given = parser(__doc__).parse_args()
    use_cores(given.cores)
    dates = SHORT if given.short else FULL
    with (
        measured(f"features, Alpha158, {given.cores} cores") as figures,
        bars_of(given.provider) as bars,
        tempfile.TemporaryDirectory() as folder,
    ):
        last = str(bars.calendar[-1].astype("M8[D]"))
        build(bars, given.cores, start=last, end=last)  # loads the kernels
        ours, theirs = [], []
        for turn in range(given.repeats):
            here = build(bars, given.cores, **dates)
            here["command"] = our_command(bars, Path(folder) / f"f{turn}", **dates)
            ours.append(here)
            case = {"provider": given.provider, "universe": UNIVERSE, "kernels": given.cores, **dates}
            began = time.perf_counter()
            there = run_qlib(given.qlib_python, "features.py", {**case, "to": f"{folder}/q{turn}.parquet"})
            there["command"] = time.perf_counter() - began
            theirs.append(there)
            if here["rows"] != there["rows"]:
                sys.exit(f"raybench made {here['rows']} rows, Qlib {there['rows']}: not the same work")
        figures["rows"] = rows = ours[0]["rows"]
        figures["raybench_rows_per_s"] = rows / median_of(ours, "seconds")
        figures["qlib_rows_per_s"] = rows / median_of(theirs, "seconds")
        figures["over_qlib"] = figures["raybench_rows_per_s"] / figures["qlib_rows_per_s"]
        figures["over_qlib_wanted_at_least"] = 10.0
        figures["raybench_command_s"] = median_of(ours, "command")
        figures["qlib_command_s"] = median_of(theirs, "command")
        figures["command_over_qlib"] = figures["qlib_command_s"] / figures["raybench_command_s"]
        figures["command_over_qlib_wanted_at_least"] = 5.0


def build(bars: Bars, cores: int, *, start: str, end: str) -> dict[str, Any]:
    """Build the table in this process, as many groups at a time as there are cores."""
    began = time.perf_counter()
    job = plan_features(bars, ("alpha158",), "unused", universe=UNIVERSE, start=start, end=end)
    with ThreadPoolExecutor(cores) as pool:
        tables = list(pool.map(lambda piece: part_table(job, piece.block(bars, bars.fields), piece), job.pieces()))
    return {"seconds": time.perf_counter() - began, "rows": sum(table.num_rows for table in tables)}


def our_command(bars: Bars, to: Path, *, start: str, end: str) -> float:
    """Seconds of the command, from the start of the interpreter to its end."""
    command = [sys.executable, "-c", "from raybench.cli.app import main; main()", "features", "--quiet"]
    command += ["--bars", bars.uri, "--to", str(to), "--instruments", UNIVERSE, "--start", start, "--end", end]
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
