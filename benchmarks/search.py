"""What a search costs beside its fits: against bare Ray Tune, and against the sum of the fits.

    python benchmarks/search.py [--short] [--trials short|long]

Short trials: ``raybench tune`` of trials of about a second each, against a bare function trial of Ray Tune that is busy
as long and reports as often, both with as many trials side by side as there are ``--cores``; whole commands, from the
start of the interpreter to the end of the process, by turns. Long trials: 16 one-thread fits of GRU on Alpha158, the
whole search against the sum of their fits divided by the cores.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd

from benchmarks._measure import Figures, bars_of, config_of, measured, parser, use_cores
from raybench.config import dump_config, load_config
from raybench.market.bars import Bars

TRIALS = 16
BARE = """
import os, sys, time
quiet = {"RAY_USAGE_STATS_ENABLED": "0", "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1", "RAY_AIR_NEW_OUTPUT": "0"}
os.environ.update(quiet)
import ray
from ray import tune

def busy(config):
    for _ in range(config["epochs"]):
        until = time.perf_counter() + config["seconds"] / config["epochs"]
        while time.perf_counter() < until:
            sum(range(1000))
        tune.report({"value": config["x"]})

ray.init("local", num_cpus=int(sys.argv[1]), include_dashboard=False, log_to_driver=False)
space = {"x": tune.uniform(0, 1), "seconds": float(sys.argv[3]), "epochs": int(sys.argv[4])}
run = tune.RunConfig(storage_path=sys.argv[5], name="bare", verbose=0)
cores, trials = int(sys.argv[1]), int(sys.argv[2])
wanted = tune.TuneConfig(metric="value", mode="max", num_samples=trials, max_concurrent_trials=cores)
tune.Tuner(tune.with_resources(busy, {"CPU": 1}), param_space=space, tune_config=wanted, run_config=run).fit()
"""


def searched(config: Path, out: Path, *overrides: str) -> tuple[float, pd.DataFrame]:
    """Seconds of ``raybench tune`` as a command, and its trials."""
    words = [sys.executable, "-m", "raybench", "tune", str(config), *overrides, "--out", str(out), "--quiet"]
    began = time.perf_counter()
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began, pd.read_parquet(out / "trials.parquet")


def bare(cores: int, trials: int, seconds: float, epochs: int, folder: Path) -> float:
    """Seconds of a bare search over trials that are busy for so long."""
    words = [sys.executable, "-c", BARE, str(cores), str(trials), str(seconds), str(epochs), str(folder)]
    began = time.perf_counter()
    subprocess.run(words, check=True, capture_output=True)
    return time.perf_counter() - began


def short_trials(options: Namespace, bars: Bars, folder: Path) -> Figures:
    """Trials of about a second each, against as many of a bare search, by turns."""
    wanted = {**_every(), "train.max_epochs": 2, "model.hidden_size": 8}
    config = load_config(config_of("gru_alpha158", bars, short=True), wanted)
    (folder / "short.yaml").write_text(dump_config(config))
    ours, theirs, fits = [], [], []
    for turn in range(options.repeats):
        seconds, trials = searched(folder / "short.yaml", folder / f"short-{turn}", "model.num_layers=1")
        ours.append(seconds)
        fits.append(float(trials["seconds"].mean()))
        theirs.append(bare(options.cores, TRIALS, fits[-1], 2, folder / f"bare-{turn}"))
    of_bare = median(ours) / median(theirs)
    figures: Figures = {"short_fit_s": median(fits), "raybench_s": median(ours), "bare_tune_s": median(theirs)}
    return {**figures, "of_bare": of_bare, "of_bare_wanted_at_most": 2.0}


def long_trials(options: Namespace, bars: Bars, folder: Path) -> Figures:
    """Whole fits, against the sum of their seconds over the cores."""
    wanted = {**_every(), "train.max_epochs": options.epochs, "train.early_stop.patience": options.epochs}
    config = load_config(config_of("gru_alpha158", bars, short=options.short), wanted)
    (folder / "long.yaml").write_text(dump_config(config))
    seconds, trials = searched(folder / "long.yaml", folder / "long")
    ideal = float(trials["seconds"].sum()) / options.cores
    figures: Figures = {"long_search_s": seconds, "long_fits_over_cores_s": ideal}
    return {**figures, "of_fits": seconds / ideal, "of_fits_wanted_at_most": 1.15}


def _every() -> dict[str, Any]:
    """What holds for trials of either length."""
    return {
        "tune.scheduler": {"type": "fifo"},
        "tune.num_samples": TRIALS,
        "tune.space": {"train.lr": {"loguniform": [1e-4, 1e-2]}},
        "cluster.num_workers": 1,
    }


PARTS = {"short": short_trials, "long": long_trials}


def main() -> None:
    """Measure both and print the ratios."""
    given = parser(__doc__)
    given.add_argument("--epochs", type=int, default=2, help="of a long trial")
    given.add_argument("--trials", choices=PARTS, nargs="+", default=list(PARTS), help="of which length")
    options = given.parse_args()
    use_cores(options.cores)
    with (
        tempfile.TemporaryDirectory() as name,
        bars_of(options.provider) as bars,
        measured(f"a search of {TRIALS} one-thread trials, {options.cores} cores") as figures,
    ):
        for part in options.trials:
            figures |= PARTS[part](options, bars, Path(name))


if __name__ == "__main__":
    main()
