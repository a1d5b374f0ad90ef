"""One new date with ``score --since-last --local``, as history and the table grow, against what it cannot do without.

    python benchmarks/one_new_date.py [--short]

Made-up markets of 300 instruments over 1, 5 and 20 years; tables that hold 300 and 3,000 dates. By turns, each in a
process of its own: the command, and python that imports torch and makes the same number of forward passes of a network
of the same size. CPU seconds are of the process, and tell more than seconds where the machine is busy. Rows: of bars,
in the row groups that are read, and those of them that are looked at.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks._measure import ROOT, measured, median_of, parser, use_cores
from benchmarks._reading import counting
from benchmarks.one_date import BARE, run_of
from raybench.cluster.jobs.scoring import score
from raybench.config import Config, load_config
from raybench.market.bars import BarBlock, Bars, open_bars
from raybench.market.importing.job import import_bars
from raybench.market.sources import memory_source
from raybench.market.synthetic import UNIVERSE, make_market
from raybench.market.universe import universe_of_frame

YEARS, DATES, INSTRUMENTS = (1, 5, 20), (300, 3_000), 300


def main() -> None:
    """Run the command and the bare forward pass by turns and print seconds and ratios."""
    given = parser(__doc__).parse_args()
    use_cores(given.cores)
    years = YEARS[:2] if given.short else YEARS
    with (
        measured(f"one new date, GRU on Alpha158, {given.cores} cores") as figures,
        tempfile.TemporaryDirectory() as room,
    ):
        for length in years:
            bars, run = prepared(Path(room) / str(length), length)
            for there in DATES:
                name = f"{length}y_{there}_dates"
                to = table(Path(room) / f"scores-{name}", bars, run, there)
                turns = [one_turn(bars, run, to, given.cores) for _ in range(given.repeats + 1)][1:]
                for what in turns[0]:
                    figures[f"{name}_{what}"] = median_of(turns, what)
                figures[f"{name}_cpu_over_bare"] = figures[f"{name}_cpu_s"] / figures[f"{name}_bare_cpu_s"]
                figures[f"{name}_over_bare"] = figures[f"{name}_s"] / figures[f"{name}_bare_s"]
            figures |= {f"{length}y_{what}": count for what, count in rows_read(bars, run, to).items()}
        figures["over_bare_wanted_at_most"] = 2.0


def prepared(folder: Path, years: int) -> tuple[Bars, str]:
    """Bars of a market, and a run on them whose weights are as they are drawn."""
    bars, config = made_up(folder, years, INSTRUMENTS)
    return bars, run_of(config, bars, str(folder / "run"))


def made_up(folder: Path, years: int, instruments: int) -> tuple[Bars, Config]:
    """Bars of a market, and the configuration of GRU on Alpha158 for them: train, valid and test 4 : 2 : 4 in time."""
    market = make_market(instruments=instruments, years=years)
    spans = {UNIVERSE: universe_of_frame(UNIVERSE, market.spans)}
    made = import_bars(memory_source(BarBlock.from_frame(market.bars)), str(folder / "bars"), universes=spans)
    bars = open_bars(made.uri)
    days = [str(day) for day in np.unique(bars.calendar.astype("datetime64[D]"))]
    cuts = [days[len(days) * part // 10] for part in (4, 6)]
    segments = [
        f"data.segments.train=[{days[0]}, {cuts[0]}]",
        f"data.segments.valid=[{_after(cuts[0])}, {cuts[1]}]",
        f"data.segments.test=[{_after(cuts[1])}, {days[-1]}]",
    ]
    changes = [f"data.bars={bars.uri}", "data.features=null", f"data.universe={UNIVERSE}", "data.start=null", *segments]
    return bars, load_config(ROOT / "configs" / "gru_alpha158.yaml", changes)


def _after(day: str) -> str:
    return str(np.datetime64(day) + 1)


def table(folder: Path, bars: Bars, run: str, there: int) -> str:
    """A table with so many dates, the newest but one among them; those of before are copies of one."""
    days = [str(day) for day in bars.calendar[-3:].astype("datetime64[D]")]
    score(run, bars=bars.uri, to=str(folder), start=days[0], end=days[1], local=True)
    first = np.datetime64(days[0])
    for back in range(1, there - 1):
        shutil.copytree(folder / f"date={days[0]}", folder / f"date={first - back}")
    return str(folder)


def one_turn(bars: Bars, run: str, to: str, cores: int) -> dict[str, float]:
    """Seconds of the command and of the bare forward pass; the date goes again."""
    newest = Path(to) / f"date={bars.calendar[-1].astype('datetime64[D]')}"
    words = ["score", "--model", run, "--bars", bars.uri, "--to", to, "--since-last", "--local", "-q"]
    seconds, cpu = spent([sys.executable, "-m", "raybench", *words])
    assert newest.is_dir(), "the date is there"
    shutil.rmtree(newest)
    bare_seconds, bare_cpu = spent([sys.executable, "-c", BARE.format(features=20)])
    return {"s": seconds, "cpu_s": cpu, "bare_s": bare_seconds, "bare_cpu_s": bare_cpu}


def spent(command: list[str], folder: Path | None = None) -> tuple[float, float]:
    """Seconds of a command, and those in which a processor worked for it."""
    began = time.perf_counter()
    environment = {**os.environ, "RAY_ADDRESS": ""}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment, cwd=folder)
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, command
    return seconds, used.ru_utime + used.ru_stime


def rows_read(bars: Bars, run: str, to: str) -> dict[str, int]:
    """Rows of bars that one new date reads and looks at."""
    with counting() as counts:
        score(run, bars=bars.uri, to=to, since_last=True, local=True)
    return counts | {"rows_there": bars.metadata.rows}


if __name__ == "__main__":
    main()
