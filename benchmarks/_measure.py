"""What the benchmarks share: equal cores for both sides, fresh processes, idle checks, one way to report.

A benchmark runs raybench and its rival by turns in one go and prints their ratio: absolute seconds of two
machines, or of one machine on two days, do not compare.
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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from raybench.config import Config, load_config
from raybench.config.panel_spec import PanelSpec
from raybench.market.bars import Bars, open_bars
from raybench.market.importing.job import import_bars
from raybench.market.sources import open_source
from raybench.panel import Panel
from raybench.panel.build import build_panel

ROOT = Path(__file__).parents[1]
IDLE_WANTED = 0.95
CORES = sorted(os.sched_getaffinity(0))  # before any of them is given away
SHORT_SEGMENTS = {  # the same work in a minute or so
    "train": ["2014-07-01", "2014-12-31"],
    "valid": ["2015-01-01", "2015-03-31"],
    "test": ["2015-04-01", "2015-06-30"],
}
Figures = dict[str, Any]


def parser(doc: str | None) -> argparse.ArgumentParser:
    """Make a parser with the options that every benchmark has."""
    shared = os.environ.get("RAYBENCH_SHARED", str(ROOT.parent / "shared"))
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--provider", default=str(Path(shared) / "cn_data"), help="Qlib provider directory")
    made.add_argument("--qlib-python", default=os.environ.get("RAYBENCH_QLIB_PYTHON", ".venv-qlib/bin/python"))
    made.add_argument("--cores", type=int, default=min(2, os.cpu_count() or 1), help="for either side")
    made.add_argument("--repeats", type=int, default=3, help="turns of each side")
    made.add_argument("--short", action="store_true", help="one year instead of twelve: a trial run, not a figure")
    return made


def use_cores(cores: int) -> None:
    """Keep this process, and every one it starts, to that many cores, and torch to as many threads."""
    os.sched_setaffinity(0, set(CORES[:cores]))
    os.environ["OMP_NUM_THREADS"] = str(cores)
    torch.set_num_threads(cores)


@contextmanager
def measured(title: str) -> Iterator[Figures]:
    """Collect figures: prints them with the share of the CPU that was idle before and after."""
    figures: Figures = {"idle_before": idle_share()}
    yield figures
    figures["idle_after"] = idle_share()
    print(title)
    for name, value in figures.items():
        print(f"  {name:<28}{_shown(value)}")
    if min(figures["idle_before"], figures["idle_after"]) < IDLE_WANTED:
        print("  (the machine was not idle: not a figure to keep)")
    print(json.dumps(figures))


def idle_share(seconds: float = 3.0) -> float:
    """Share of all cores' time that nothing used over the next ``seconds``."""

    def read() -> tuple[int, int]:
        times = [int(value) for value in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
        return times[3] + times[4], sum(times)

    idle, total = read()
    time.sleep(seconds)
    later_idle, later_total = read()
    return round((later_idle - idle) / max(later_total - total, 1), 3)


def held_mib(what: str) -> float:
    """Memory of this process as Linux tells it: VmRSS is what it holds now, VmHWM the most it ever held."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(what)).split()[1]) / 1024


def median_of(runs: Sequence[Mapping[str, float]], name: str) -> float:
    """Median over runs of one of their figures."""
    return statistics.median(run[name] for run in runs)


@contextmanager
def bars_of(provider: str) -> Iterator[Bars]:
    """Import the provider into a temporary bars dataset."""
    with tempfile.TemporaryDirectory() as folder:
        yield open_bars(import_bars(open_source(provider), Path(folder) / "bars").uri)


def config_of(name: str, bars: Bars, *, short: bool, overrides: Sequence[str] = ()) -> Config:
    """Load one of ``configs/`` with these bars: Qlib's own settings, Qlib's own split."""
    changes = [f"data.bars={bars.uri}", "data.features=null"]
    if short:
        changes += [f"data.segments.{segment}=[{', '.join(dates)}]" for segment, dates in SHORT_SEGMENTS.items()]
    return load_config(ROOT / "configs" / f"{name}.yaml", [*changes, *overrides])


def panel_of(config: Config, bars: Bars, segments: Sequence[str] = ("train", "valid")) -> Panel:
    """Build the resident panel in this process."""
    return build_panel(PanelSpec.of(config), bars, None, segments=segments)


def windows(panel: Panel, segment: str) -> torch.Tensor:
    """Gather every window of a segment into memory, what a rival without an index starts from."""
    chosen = panel.segments[segment]
    rows_S = torch.from_numpy(chosen.samples.row_S)
    return torch.cat([chosen.source.gather(part).clone() for part in rows_S.split(8192)])


def qlib_case(config: Config, provider: str, **more: Any) -> dict[str, Any]:
    """Say to Qlib's side what to run: the same feature set, segments and hyper-parameters."""
    data = config.data
    segments = {name: [str(day) for day in days] for name, days in data.segments.items()}
    return {
        "provider": provider,
        "universe": data.universe,
        "feature_set": data.feature_set.type,
        "columns": data.feature_set.columns,
        "step_len": data.step_len,
        "segments": segments,
        "start": segments["train"][0],
        "end": segments["test"][1],
        "batch_size": config.train.batch_size,
        "lr": config.train.lr,
        "network": config.model.type,
        **config.model.kwargs,
        **more,
    }


def run_qlib(python: str, script: str, case: Mapping[str, Any]) -> Figures:
    """Run a script of ``qlib_side`` with a case; its last line of output is its figures."""
    command = [python, str(Path(__file__).parent / "qlib_side" / script), json.dumps(case)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        sys.exit(f"{' '.join(command[:2])} failed:\n{ended.stderr[-3000:]}")
    found: Figures = json.loads(ended.stdout.splitlines()[-1])
    return found


def _shown(value: Any) -> str:
    return f"{value:>14,.3f}" if isinstance(value, float) else f"{value:>14,}" if isinstance(value, int) else f"{value}"
