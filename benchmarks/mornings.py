"""CSI 300 to 2020-06-30, then day by day to the end with ``raybench daily``, against one import and one scoring.

    python benchmarks/mornings.py [--short]

Each morning in a process of its own. In the middle the history of one instrument is restated as after a split, and one
morning is killed halfway and run again. The tables have to be equal, byte for byte.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import yaml

from benchmarks._measure import bars_of, config_of, measured, parser, use_cores
from benchmarks.one_date import run_of
from benchmarks.one_new_date import spent
from raybench.cluster.jobs.scoring import score
from raybench.market.bars import open_bars
from raybench.market.importing.job import import_bars
from raybench.market.sources import open_source
from raybench.market.sources.spans_file import read_spans

CUT, FIRST = "2020-06-30", "2020-06-01"
FIELDS = ["open", "high", "low", "close", "volume", "factor"]


def main() -> None:
    """Live through the mornings, then compare."""
    given = parser(__doc__).parse_args()
    use_cores(given.cores)
    title = f"mornings of CSI 300 from {CUT} on, GRU on Alpha158, {given.cores} cores"
    with measured(title) as figures, tempfile.TemporaryDirectory() as name, bars_of(given.provider) as bars:
        room = Path(name)
        config = config_of("gru_alpha158", bars, short=True)
        run = run_of(config, bars, str(room / "run"))
        rows = bars.block().to_frame()
        rows = rows[["instrument", "datetime", *(f for f in FIELDS if f in rows)]].dropna(subset=["close"])
        bars.listed("csi300").to_frame().to_csv(room / "csi300.csv", index=False)
        (room / "daily.yaml").write_text(yaml.safe_dump(daily_of(run)))
        days = sorted(rows["datetime"].dt.strftime("%Y-%m-%d").unique())
        days = [day for day in days if day > CUT][: 8 if given.short else None]
        rows = rows[rows["datetime"] <= days[-1]]
        seconds, read, rows = mornings(room, rows, days)
        figures |= {
            "mornings": len(days),
            "first_s": seconds[0],
            "median_s": statistics.median(seconds[1:]),
            "longest_s": max(seconds[1:]),
            "median_rows_read": statistics.median(read[1:]),
            "longest_rows_read": read[1:][seconds[1:].index(max(seconds[1:]))],
            "rows_there": open_bars(str(room / "bars")).metadata.rows,
            "no_news_s": spent_on(room)[0],
        }
        figures["equal"] = equal(room, rows, run)
        assert figures["equal"], "the tables differ"


def daily_of(run: str) -> dict[str, object]:
    """The configuration of a morning."""
    return {
        "import": {"source": "delivered.parquet", "universe": {"csi300": "csi300.csv"}},
        "bars": "bars",
        "score": {"model": run, "to": "scores", "start": FIRST, "redo_stale": True, "local": True},
    }


def mornings(room: Path, rows: pd.DataFrame, days: list[str]) -> tuple[list[float], list[int], pd.DataFrame]:
    """Seconds and rows read of each morning, and the rows as they are after all."""
    deliver(room, rows[rows["datetime"] <= CUT])
    spent_on_each = [spent_on(room)]
    middle, killed = days[len(days) // 2], days[len(days) // 2 + 2]
    for day in days:
        if day == middle:
            rows = split(rows, str(rows[rows["datetime"] == day]["instrument"].iloc[7]))
            deliver(room, rows[rows["datetime"] <= day])
        else:
            deliver(room, rows[rows["datetime"] == day])
        if day == killed:
            kill_halfway(room)
        spent_on_each.append(spent_on(room))
        assert (room / "scores" / f"date={day}").is_dir(), day
        print("  {}  {:.2f} s, {:,} rows read".format(day, *spent_on_each[-1]), file=sys.stderr)
    seconds, read = zip(*spent_on_each, strict=True)
    return list(seconds), list(read), rows


def deliver(room: Path, rows: pd.DataFrame) -> None:
    """Put a delivery in the place of the one before."""
    rows.to_parquet(room / "aside.parquet", index=False)
    os.replace(room / "aside.parquet", room / "delivered.parquet")


def split(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    """The history of an instrument as after a split of one into two."""
    rows = rows.copy()
    here = rows["instrument"] == name
    rows.loc[here, ["open", "high", "low", "close"]] /= 2
    rows.loc[here, "volume"] *= 2
    return rows


def spent_on(room: Path) -> tuple[float, int]:
    """Seconds of one morning, and the rows of bars that it read."""
    command = [sys.executable, "-m", "benchmarks._reading", "counts.json", "daily", "daily.yaml", "-q"]
    seconds, _ = spent(command, folder=room)
    counts = json.loads((room / "counts.json").read_text())
    return seconds, int(counts["rows_read"])


def kill_halfway(room: Path) -> None:
    """Kill a morning when the new bars are in place."""
    before = (room / "bars" / "metadata.json").read_bytes()
    process = subprocess.Popen([sys.executable, "-m", "raybench", "daily", "daily.yaml", "-q"], cwd=room)
    while process.poll() is None and (room / "bars" / "metadata.json").read_bytes() == before:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()


def equal(room: Path, rows: pd.DataFrame, run: str) -> bool:
    """Whether one import and one scoring of everything makes the same files."""
    rows.to_parquet(room / "all.parquet", index=False)
    universes = {"csi300": read_spans(str(room / "csi300.csv"), "csi300")}
    import_bars(open_source(str(room / "all.parquet")), str(room / "whole-bars"), universes=universes)
    score(run, bars=str(room / "whole-bars"), to=str(room / "whole"), start=FIRST, local=True)
    found, wanted = (
        {path.parent.name: path.read_bytes() for path in (room / name).glob("date=*/scores.parquet")}
        for name in ("scores", "whole")
    )
    differ = sorted(day for day in found.keys() | wanted.keys() if found.get(day) != wanted.get(day))
    if differ:
        print("differ:", *differ, file=sys.stderr)
    return not differ


if __name__ == "__main__":
    main()
