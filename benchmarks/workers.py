"""Two workers with one thread each against one worker with one thread: seconds of an epoch.

    python benchmarks/workers.py [--short]

Both through Ray Train and DistributedDataParallel as ``raybench train`` runs them, GRU on Alpha158 with the same
global batches; the fastest of ``--repeats`` epochs, training plus validation, from the run's history. Then one worker
with a thread for each core, and steps in bare processes (``_bare_workers``), which tell what the machine allows.
"""

from __future__ import annotations

import tempfile

from benchmarks._bare_workers import bare_steps
from benchmarks._measure import bars_of, config_of, measured, parser, use_cores
from raybench.cluster.jobs.training import train
from raybench.market.bars import Bars

WANTED = 1.8


def main() -> None:
    """Train both ways and print the ratio."""
    given = parser(__doc__).parse_args()
    use_cores(given.cores)
    with measured("GRU on Alpha158: 2 workers x 1 thread against 1 x 1") as figures, bars_of(given.provider) as bars:
        for workers, threads in ((1, 1), (2, 1), (1, given.cores)):
            seconds = epoch_seconds(bars, workers, given.repeats, threads=threads, short=given.short)
            figures[f"{workers}_x_{threads}_s"] = min(seconds)
            figures[f"all_{workers}_x_{threads}_s"] = seconds
        figures["speed_up"] = figures["1_x_1_s"] / figures["2_x_1_s"]
        figures["speed_up_wanted_at_least"] = WANTED
        figures |= bare_steps()
        figures["bare_speed_up"] = figures["bare_1_x_1_ms"] / figures["bare_2_x_1_ms"]


def epoch_seconds(bars: Bars, workers: int, epochs: int, *, threads: int, short: bool) -> list[float]:
    """Train that many epochs on a group of workers -> seconds of each."""
    overrides = [f"cluster.num_workers={workers}", f"cluster.cpus_per_worker={threads}", "cluster.use_gpu=false"]
    overrides += [f"train.max_epochs={epochs}", "data.residency=resident"]
    config = config_of("gru_alpha158", bars, short=short, overrides=overrides)
    with tempfile.TemporaryDirectory() as folder:
        return [float(value) for value in train(config, out=f"{folder}/run").history["seconds"]]


if __name__ == "__main__":
    main()
