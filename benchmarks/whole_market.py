"""A whole market over twenty years against an index over the same years: what a row costs, and what memory it takes.

    python benchmarks/whole_market.py [--short]

Random walks of 300 and of 3,800 instruments on 5,200 dates, each in a process of its own on ``--cores`` threads.
Features: all parts of a table of Alpha158, read and computed, not written. Scoring: GRU on 20 columns over the newest
dates, as many as come to some 400,000 rows. Rows per second, and the most memory that the process took for itself.
"""

from __future__ import annotations

import json
import multiprocessing
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks._measure import ROOT, measured, parser, use_cores
from benchmarks.preparation import config_of, write_market
from benchmarks.scoring import seconds as seconds_to_score
from raybench.allocator import keep_memory
from raybench.cluster.own_memory import OwnMemory, own_mib
from raybench.config import Config
from raybench.config.panel_spec import PanelSpec
from raybench.feature_sets.build import part_table, plan_features
from raybench.market.bars import open_bars
from raybench.panel.build import build_panel, scoring_panel
from raybench.scoring.predictor import Predictor
from raybench.training.network import build_model

SIZES, DATES, SCORED = (300, 3_800), 5_200, 400_000
WANTED = 1.15


def main() -> None:
    """Measure each size in a process of its own and print what a row costs in the larger one."""
    options = parser(__doc__)
    options.add_argument("--one", type=int, help="this many instruments alone, in this process")
    given = options.parse_args()
    use_cores(given.cores)
    dates = 1_300 if given.short else DATES
    if given.one:
        print(json.dumps(measure(given.one, dates, given.cores)))
        return
    with measured(f"markets of {SIZES} instruments on {dates:,} dates, {given.cores} cores") as figures:
        found = {}
        for size in SIZES:
            command = [sys.executable, "-m", "benchmarks.whole_market", "--one", str(size), "--cores", str(given.cores)]
            command += ["--short"] * given.short
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT)
            found[size] = json.loads(done.stdout.splitlines()[-1])
            figures |= {f"{size}_{name}": value for name, value in found[size].items()}
        for what in ("features", "score"):
            few, many = (found[size][f"{what}_rows_per_s"] for size in SIZES)
            figures[f"{what}_cost_of_a_row"] = few / many
        figures["cost_of_a_row_wanted_at_most"] = WANTED


def measure(instruments: int, dates: int, threads: int) -> dict[str, Any]:
    """Make the market, build all features, score the newest dates."""
    with tempfile.TemporaryDirectory() as folder:
        market = {"instruments": instruments, "dates": dates}
        maker = multiprocessing.get_context("spawn").Process(  # whose memory is not ours
            target=write_market, args=(f"{folder}/bars",), kwargs=market
        )
        maker.start()
        maker.join()
        assert maker.exitcode == 0, "the market could not be made"
        bars = open_bars(f"{folder}/bars")
        job = plan_features(bars, ("alpha158",), "unused")
        pieces = job.pieces()
        part_table(job, pieces[0].block(bars, bars.fields), pieces[0])  # loads what it needs
        before, began = own_mib(), time.perf_counter()
        with OwnMemory() as building, ThreadPoolExecutor(threads) as pool:
            rows = sum(pool.map(lambda piece: part_table(job, piece.block(bars, bars.fields), piece).num_rows, pieces))
        built = time.perf_counter() - began
        days = bars.calendar.astype("datetime64[D]").astype(str).tolist()
        config = config_of(f"{folder}/bars", "alpha158, 20 columns")
        segments = {"train": (days[70], days[140]), "valid": (days[141], days[150]), "test": (days[-2], days[-1])}
        changed = config.model_dump(mode="json", by_alias=True)
        changed["data"]["segments"] = segments
        config = Config.model_validate(changed)
        spec = PanelSpec.of(config)
        trained = build_panel(spec, bars, None, segments=("train",))
        first = days[-max(SCORED // instruments, 1)]
        with OwnMemory() as scoring:
            panel = scoring_panel(spec, bars, None, trained.processors, first, days[-1])
            network = build_model(config, panel.columns)
            predictor = Predictor(config, network.state_dict(), panel, fused=True)
            keep_memory()  # as a scoring job does
            taken = min(seconds_to_score(predictor, panel) for _ in range(2))
        scored = len(panel.segments["score"].samples)
    return {
        "rows": rows,
        "features_rows_per_s": rows / built,
        "features_mib": building.peak_mib - before,
        "scored_rows": scored,
        "score_rows_per_s": scored / taken,
        "scoring_mib": scoring.peak_mib - before,
    }


if __name__ == "__main__":
    main()
