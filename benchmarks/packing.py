"""Fits of a bench side by side, a thread each, against one after the other with all threads each: fits per hour.

    python benchmarks/packing.py [--short] [--cores N]

``raybench bench`` on GRU, Alpha158, as many seeds as there are cores, EPOCHS epochs each; the two ways differ in
``cluster.cpus_per_worker`` alone. Counted from the first fit that begins to the last that ends: the processes of fits
are started within, the panel is prepared before. The two ways take turns; the median of each counts.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks._measure import bars_of, config_of, measured, parser, use_cores
from raybench.cluster.jobs.benching import bench
from raybench.cluster.session import session
from raybench.market.bars import Bars
from raybench.progress import Advance

EPOCHS = 2
WANTED = 1.4


class Watch:
    """A progress that looks at the clock when the first fit begins and whenever one ends."""

    def __init__(self) -> None:
        self.began: float | None = None
        self.ended = 0.0

    @contextmanager
    def track(self, name: str, total: int | None, *, at_most: bool = False) -> Iterator[Advance]:
        """Take the steps of the bar of fits as their ends."""

        def advance(n: int = 1, text: str = "") -> None:
            if name == "fits" and n:
                self.ended = time.monotonic()

        yield advance

    def note(self, text: str) -> None:
        """Take the first line of a fit as its beginning."""
        if self.began is None and text.endswith(": begins"):
            self.began = time.monotonic()

    @property
    def seconds(self) -> float:
        """From the first beginning to the last end."""
        assert self.began is not None, "no fit began"
        return self.ended - self.began


def main() -> None:
    """Bench both ways by turns and print the ratio."""
    given = parser(__doc__).parse_args()
    use_cores(given.cores)
    cores = given.cores
    ways = {f"{cores}_x_1_thread": 1, f"1_x_{cores}_threads": cores}
    with (
        measured(f"GRU on Alpha158: {cores} fits x 1 thread against 1 x {cores}") as figures,
        bars_of(given.provider) as bars,
        session(num_cpus=cores + 1),
    ):
        hourly: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(given.repeats):
            for way, threads in ways.items():
                hourly[way].append(fits_per_hour(bars, threads, fits=cores, short=given.short, figures=figures))
        for way, rates in hourly.items():
            figures[f"{way}_fits_per_hour"] = statistics.median(rates)
            figures[f"all_{way}"] = [round(rate, 2) for rate in rates]
        packed, serial = (figures[f"{way}_fits_per_hour"] for way in ways)
        figures["ratio"] = packed / serial
        figures["ratio_wanted_at_least"] = WANTED


def fits_per_hour(bars: Bars, threads: int, *, fits: int, short: bool, figures: dict[str, Any]) -> float:
    """Bench that many seeds with so many threads each; note the peak memory of a fit."""
    overrides = [f"cluster.cpus_per_worker={threads}", "cluster.use_gpu=false", f"train.max_epochs={EPOCHS}"]
    config, watch = config_of("gru_alpha158", bars, short=short, overrides=overrides), Watch()
    with tempfile.TemporaryDirectory() as folder:
        done = bench({"gru": config}, seeds=fits, out=f"{folder}/bench", progress=watch)
    failed = done.results["error"].dropna()
    assert failed.empty, failed.tolist()
    figures[f"peak_mib_of_a_fit_with_{threads}"] = float(done.results["peak_memory_mib"].max())
    return fits / watch.seconds * 3600


if __name__ == "__main__":
    main()
