"""Building Alpha158: raybench against Qlib's handler, on the same bars, rows and cores.

    python benchmarks/features.py --qlib-python .venv-qlib/bin/python [--provider DIR] [--start D --end D]

In process: from data on disk to a table of 158 features and the label in memory; imports, start-up and, on our side,
loading the compiled kernels are not counted. Whole command: ``raybench features`` against a script that builds the
handler and writes it to Parquet, from the start of the interpreter to its end. Medians of ``--repeats`` runs, the
two sides by turns.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from raybench.data.bars import Bars, open_bars
from raybench.data.features import part_table, plan_features
from raybench.data.import_bars import import_bars
from raybench.data.sources import open_source

ROOT = Path(__file__).parents[1]
UNIVERSE = "csi300"


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Run both sides and print rows per second, seconds and their ratios."""
    given = _parse(arguments)
    os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[: given.cores]))  # children inherit it
    ours: list[float] = []
    our_commands: list[float] = []
    qlibs: list[float] = []
    qlib_commands: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        bars = open_bars(import_bars(open_source(given.provider), Path(folder) / "bars").uri)
        last = str(bars.calendar[-1].astype("M8[D]"))
        _build(bars, last, last, given.cores)  # loads the kernels
        for turn in range(given.repeats):
            print(f"turn {turn + 1} of {given.repeats}, load {os.getloadavg()[0]:.1f}", file=sys.stderr)
            seconds, rows = _build(bars, given.start, given.end, given.cores)
            ours.append(seconds)
            our_commands.append(_our_command(bars, Path(folder) / f"f{turn}", given.start, given.end))
            theirs, whole = _qlib(given, Path(folder) / f"q{turn}.parquet")
            if theirs["rows"] != rows:
                raise SystemExit(f"raybench made {rows} rows, Qlib {theirs['rows']}: not the same work")
            qlibs.append(theirs["seconds"])
            qlib_commands.append(whole)
    figures = {
        "rows": rows,
        "cores": given.cores,
        "raybench_rows_per_s": rows / statistics.median(ours),
        "qlib_rows_per_s": rows / statistics.median(qlibs),
        "ratio_in_process": statistics.median(qlibs) / statistics.median(ours),
        "raybench_command_s": statistics.median(our_commands),
        "qlib_command_s": statistics.median(qlib_commands),
        "ratio_command": statistics.median(qlib_commands) / statistics.median(our_commands),
    }
    _print(figures)
    return figures


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    shared = os.environ.get("RAYBENCH_SHARED", str(ROOT.parent / "shared"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--qlib-python", default=os.environ.get("RAYBENCH_QLIB_PYTHON", ".venv-qlib/bin/python"))
    parser.add_argument("--provider", default=str(Path(shared) / "cn_data"))
    parser.add_argument("--start", default="2008-01-01")
    parser.add_argument("--end", default="2020-08-01")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cores", type=int, default=min(2, os.cpu_count() or 1))
    return parser.parse_args(arguments)


def _build(bars: Bars, start: str, end: str, cores: int) -> tuple[float, int]:
    """Build the table in this process -> seconds, rows."""
    began = time.perf_counter()
    job = plan_features(bars, ("alpha158",), "unused", universe=UNIVERSE, start=start, end=end)
    with ThreadPoolExecutor(cores) as pool:
        tables = list(pool.map(lambda group: part_table(job, bars.block(group[1])), job.groups()))
    return time.perf_counter() - began, sum(table.num_rows for table in tables)


def _our_command(bars: Bars, to: Path, start: str, end: str) -> float:
    command = [sys.executable, "-c", "from raybench.cli.app import main; main()", "features", "--quiet"]
    command += ["--bars", bars.uri, "--to", str(to), "--instruments", UNIVERSE, "--start", start, "--end", end]
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def _qlib(given: argparse.Namespace, to: Path) -> tuple[dict[str, float], float]:
    """Run Qlib's side -> what it measured within, and the seconds of the whole process."""
    script = Path(__file__).parent / "qlib_side" / "features.py"
    command = [given.qlib_python, str(script), given.provider, UNIVERSE, given.start, given.end]
    command += [str(given.cores), str(to)]
    began = time.perf_counter()
    ended = subprocess.run(command, check=False, capture_output=True, text=True)
    if ended.returncode:
        raise SystemExit(f"Qlib's side failed:\n{ended.stderr[-3000:]}")
    return json.loads(ended.stdout.splitlines()[-1]), time.perf_counter() - began


def _print(figures: dict[str, float]) -> None:
    print(f"Alpha158, {figures['rows']:,.0f} rows x 158, {figures['cores']} cores")
    for name, unit, scale in (("rows_per_s", "krows/s in process", 1e-3), ("command_s", "s whole command", 1)):
        for side in ("raybench", "qlib"):
            print(f"  {side:<9}{figures[f'{side}_{name}'] * scale:>10.1f} {unit}")
    print(
        f"  in process {figures['ratio_in_process']:.1f}x (wanted: 10), "
        f"whole command {figures['ratio_command']:.1f}x (wanted: 3)"
    )
    print(json.dumps({name: round(value, 3) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
