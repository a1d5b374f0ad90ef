"""Peak memory of preparing a panel: what the process, and Ray's workers, hold above what they held before.

    python benchmarks/preparation.py [--short]

A market made up for it (400 instruments, 2,600 dates; 100 with --short) is prepared with the benchmark's processors:
the 20 and all 158 of Alpha158, and Alpha360; in this process, and on Ray, where the panel then lies in the object
store. Measured is anonymous memory (RssAnon), fifty times a second; the store's pages are shared, and are the panel.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks._measure import measured
from raybench.config import Config, load_config
from raybench.config.data.alpha_names import BENCHMARK_20
from raybench.config.panel_spec import PanelSpec
from raybench.market.bars import BarBlock
from raybench.market.importing.job import import_bars
from raybench.market.sources import memory_source
from raybench.training.sources import open_sources

WANTED = 1.25
MIB = 2**20
KINDS: dict[str, tuple[dict[str, Any], int]] = {
    "alpha158, 20 columns": ({"type": "alpha158", "columns": list(BENCHMARK_20)}, 20),
    "alpha158": ({"type": "alpha158"}, 20),
    "alpha360": ({"type": "alpha360"}, 60),
}


def main() -> None:
    """Prepare each kind of panel both ways, each in a process of its own."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--short", action="store_true", help="a quarter of the market: a trial run, not a figure")
    options.add_argument("--one", nargs=3, metavar=("BARS", "KIND", "WHERE"), help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.one:
        print(json.dumps(prepared(*given.one)))
        return
    with measured("peak memory of preparing a panel") as figures, tempfile.TemporaryDirectory() as folder:
        write_market(f"{folder}/bars", instruments=100 if given.short else 400)
        for kind in KINDS:
            for where in ("process", "ray"):
                command = [sys.executable, __file__, "--one", f"{folder}/bars", kind, where]
                done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
                figures |= {f"{kind}, {where}": json.loads(done.stdout.splitlines()[-1])}
        figures |= {"ratio_wanted_at_most": WANTED}


def write_market(to: str, *, instruments: int, dates: int = 2600) -> None:
    """Import random walks."""
    rng, days = np.random.default_rng(0), pd.bdate_range("2000-01-03" if dates > 2600 else "2008-01-01", periods=dates)
    parts = []
    for number in range(instruments):
        close = 10 * np.exp(np.cumsum(rng.normal(0, 0.02, len(days))))
        prices = {"open": close * 1.001, "high": close * 1.01, "low": close * 0.99, "close": close, "vwap": close}
        volume = rng.lognormal(10, 1, len(days))
        parts.append(pd.DataFrame({"instrument": f"I{number:04d}", "datetime": days, **prices, "volume": volume}))
    import_bars(memory_source(BarBlock.from_frame(pd.concat(parts))), to)


def config_of(bars: str, kind: str) -> Config:
    """The benchmark's processors over nine years of train and valid."""
    feature_set, step_len = KINDS[kind]
    segments = {"train": ["2008-06-01", "2015-12-31"], "valid": ["2016-01-01", "2017-06-30"]}
    infer = [
        {"class": "RobustZScoreNorm", "kwargs": {"fields_group": "feature", "clip_outlier": True}},
        {"class": "Fillna", "kwargs": {"fields_group": "feature"}},
    ]
    learn = [{"class": "DropnaLabel"}, {"class": "CSRankNorm", "kwargs": {"fields_group": "label"}}]
    data = {
        "bars": bars,
        "universe": "all",
        "feature_set": feature_set,
        "step_len": step_len,
        "segments": {**segments, "test": ["2017-07-01", "2017-11-30"]},
        "processors": {"infer": infer, "learn": learn},
    }
    return load_config({"data": data, "model": {"type": "gru"}})


def prepared(bars: str, kind: str, where: str) -> dict[str, float]:
    """Prepare one panel here and say what it took."""
    sources = open_sources(PanelSpec.of(config_of(bars, kind)))
    if where == "process":
        from raybench.panel.build import build_panel

        with watched() as peaks:
            size = build_panel(sources.spec, sources.bars, sources.features).nbytes
        return figures_of(peaks, size)
    import ray

    from raybench.cluster import preparation
    from raybench.cluster.fanout import fanout
    from raybench.cluster.session import session

    preparation.IN_PROCESS_BYTES = 0  # on Ray however little it is
    with session():
        list(fanout(_loaded, range(2 * (os.cpu_count() or 1))))  # what the workers import is no memory of a panel
        with watched() as peaks:
            data = preparation.prepare(sources, "resident")
        assert isinstance(data.rows, preparation.ResidentRows)
        size = sum(ray.get(reference).nbytes for reference in data.rows.arrays.values())
        return figures_of(peaks, size)


def _loaded(item: int) -> int:
    import raybench.panel.build  # noqa: F401

    return item


def figures_of(peaks: dict[int, int], size: int) -> dict[str, float]:
    """Peaks over the base, in MiB and as shares of the panel."""
    here = peaks.pop(os.getpid())
    worker = max(peaks.values(), default=0)
    return {
        "panel_mib": round(size / MIB),
        "driver_mib": round(here / MIB),
        "driver_ratio": round(here / size, 2),
        "worker_mib": round(worker / MIB),
        "worker_ratio": round(worker / size, 2),
    }


@contextmanager
def watched() -> Iterator[dict[int, int]]:
    """Watch this process and Ray's workers; afterwards, by process, the peak over what it had at first."""
    base: dict[int, int] = {}
    peaks: dict[int, int] = {}
    done = threading.Event()

    def look() -> None:
        while True:
            for pid in (os.getpid(), *workers()):
                now = anonymous(pid)
                base.setdefault(pid, now)
                peaks[pid] = max(peaks.get(pid, 0), now - base[pid])
            if done.wait(0.02):
                return

    thread = threading.Thread(target=look)
    thread.start()
    time.sleep(0.3)
    try:
        yield peaks
    finally:
        done.set()
        thread.join()


def anonymous(pid: int) -> int:
    """Bytes of anonymous memory of a process, 0 if it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon")), 0)


def workers() -> Iterator[int]:
    """Processes of Ray's tasks."""
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                if Path(f"/proc/{entry}/cmdline").read_bytes().startswith(b"ray::"):
                    yield int(entry)
            except OSError:
                continue


if __name__ == "__main__":
    main()
