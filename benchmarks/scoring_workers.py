"""How scoring grows with processes: all dates of the test segment by one, and by one for each core.

    python benchmarks/scoring_workers.py [--short]

By turns, each in a process of its own with a Ray of so many CPUs: seconds of a whole scoring of GRU on 20 columns of
Alpha158, once Ray is up, which reads bars and prepares the panel too, and rows per second.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks._measure import ROOT, bars_of, config_of, measured, median_of, parser, use_cores
from benchmarks.one_date import run_of
from raybench.cluster.jobs.scoring import score
from raybench.cluster.session import session


def main() -> None:
    """Run both by turns and print rows per second and their ratio."""
    options = parser(__doc__)
    options.add_argument("--one", nargs=4, metavar=("CPUS", "RUN", "BARS", "TO"), help="one scoring, in this process")
    given = options.parse_args()
    use_cores(given.cores)
    if given.one:
        cpus, run, bars, to = given.one
        print(json.dumps(scored(int(cpus), run, bars, to)))
        return
    with measured(f"scoring all dates of CSI 300, GRU on Alpha158, 1 and {given.cores} processes") as figures:
        with bars_of(given.provider) as bars, tempfile.TemporaryDirectory() as room:
            run = run_of(config_of("gru_alpha158", bars, short=given.short), bars, str(Path(room) / "run"))
            turns: list[dict[str, float]] = []
            for turn in range(given.repeats):
                found: dict[str, float] = {}
                for cpus in (1, given.cores):
                    command = [sys.executable, "-m", "benchmarks.scoring_workers", "--cores", str(given.cores)]
                    command += ["--one", str(cpus), run, bars.uri, f"{room}/scores-{cpus}-{turn}"]
                    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT)
                    found |= {
                        f"{name}_{cpus}": value for name, value in json.loads(done.stdout.splitlines()[-1]).items()
                    }
                turns.append(found)
        figures |= {name: median_of(turns, name) for name in turns[0]}
        figures["times_as_fast"] = figures["seconds_1"] / figures[f"seconds_{given.cores}"]


def scored(cpus: int, run: str, bars: str, to: str) -> dict[str, float]:
    """Score on a Ray of ``cpus`` CPUs -> seconds, and rows per second."""
    with session(num_cpus=cpus):
        began = time.perf_counter()
        result = score(run, bars=bars, to=to, local=False)
        seconds = time.perf_counter() - began
    return {"seconds": seconds, "rows_per_s": result.rows / seconds}


if __name__ == "__main__":
    main()
