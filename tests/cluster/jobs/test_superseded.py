"""A job that was stopped in the middle and wakes up after a newer one: what that one published stays.

The old one is stopped with its first date in its hands, one step before that has its name.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from raybench.cli.app import run as command
from raybench.cluster.jobs.scoring import score
from raybench.config import Config
from raybench.market.bars import open_bars
from raybench.storage import files
from tests.cluster.s3_server import BUCKET
from tests.cluster.scored import bytes_of, import_frame

MakeConfig = Callable[..., Config]
MakeRun = Callable[[Config], str]
START, END = "2015-12-22", "2015-12-30"
STOPS = """
import os, signal, sys, threading, time
from raybench.cli.app import run
from raybench.storage import files
stopped, one = [], threading.Lock()  # several dates are written at a time
def stop(step, uri):
    if step in ("rename", "put") and "/date=" in uri:
        with one:
            if not stopped:
                stopped.append(uri)
                os.kill(os.getpid(), signal.SIGSTOP)
                time.sleep(0.1)
files._checkpoint = stop
sys.exit(run(sys.argv[1:]))
"""
WHERE = pytest.mark.parametrize("where", ["disk", pytest.param("s3", marks=pytest.mark.slow)])


@pytest.fixture(scope="session")
def other_run(make_config: MakeConfig, make_run: MakeRun) -> str:
    """A newer run, which says something else."""
    return make_run(make_config(train__seed=5, model__hidden_size=6))


class Table:
    """A score table, and jobs on it."""

    def __init__(self, to: str, bars: str) -> None:
        self.to, self.bars = to, bars
        self.started: list[subprocess.Popen[str]] = []

    def words(self, run: str, *more: str) -> list[str]:
        words = ["--model", run, "--bars", self.bars, "--to", self.to, "--start", START, "--end", END, "--local", "-q"]
        return ["score", *words, *more]

    def stopped(self, run: str, *more: str) -> subprocess.Popen[str]:
        """A job that stands where it would publish its first date."""
        line = [sys.executable, "-c", STOPS, *self.words(run, *more)]
        old = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.started.append(old)
        seen = os.waitid(os.P_PID, old.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        assert seen is not None
        assert seen.si_code == os.CLD_STOPPED, old.communicate()[1]
        return old

    def goes_on(self, old: subprocess.Popen[str]) -> tuple[int, str, str]:
        """Exit code of the old job, and what it says."""
        old.send_signal(signal.SIGCONT)
        out, err = old.communicate(timeout=120)
        return old.returncode, out, err

    def do(self, run: str, *more: str) -> None:
        assert command(self.words(run, *more)) == 0

    def content(self) -> dict[str, bytes]:
        return {name: files.read_bytes(files.join(self.to, name)) for name in files.sizes(self.to)}


@pytest.fixture
def table(where: str, tmp_path: Path, market_bars: str, request: pytest.FixtureRequest) -> Iterator[Table]:
    to = str(tmp_path / "scores")
    if where == "s3":
        patch, server = request.getfixturevalue("monkeypatch"), request.getfixturevalue("server")
        for name, value in server.items():
            patch.setenv(name, value)
        to = f"s3://{BUCKET}/{request.function.__name__}/scores"
    table = Table(to, market_bars)
    yield table
    for process in table.started:
        process.kill()
        process.communicate()


def assert_superseded(said: tuple[int, str, str], dates: int) -> None:
    code, out, err = said
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert f": {START}, 2015-12-23, 2015-12-24 and {dates - 3} more dates: written by another job" in err
    assert "this one is superseded" in err


@WHERE
def test_what_was_missing_is_not_put_over_what_came_since(table: Table, run: str, other_run: str) -> None:
    old = table.stopped(run)
    table.do(other_run)
    newer = table.content()
    assert len(newer) > 3
    assert_superseded(table.goes_on(old), len(newer))
    assert table.content() == newer


@WHERE
def test_what_was_to_be_replaced_is_no_longer_there(table: Table, run: str, other_run: str) -> None:
    table.do(run)
    old = table.stopped(run, "--overwrite")
    table.do(other_run, "--overwrite")
    newer = table.content()
    assert_superseded(table.goes_on(old), len(newer))
    assert table.content() == newer


@pytest.mark.parametrize("where", ["disk"])
def test_stale_dates_that_somebody_scored_since_stay(
    table: Table, run: str, other_run: str, market_bars: str, tmp_path: Path
) -> None:
    table.do(run)
    rows = open_bars(market_bars).block().to_frame()
    rows.loc[rows["datetime"] == "2015-12-21", "high"] *= 1.02  # in every window that is scored
    table.bars = import_frame(rows, str(tmp_path / "restated"), like=market_bars)
    old = table.stopped(run, "--stale")
    table.do(other_run, "--overwrite")
    newer = table.content()
    assert_superseded(table.goes_on(old), len(newer))
    assert table.content() == newer


@WHERE
def test_two_jobs_that_do_the_very_same_are_both_right(table: Table, run: str) -> None:
    old = table.stopped(run)
    table.do(run)
    there = table.content()
    code, out, err = table.goes_on(old)
    assert code == 0, err
    assert f"{len(there)} of them another process had published by then, the very same" in out
    assert table.content() == there


@WHERE
def test_dates_that_nobody_wrote_since_are_written(table: Table, run: str, other_run: str, tmp_path: Path) -> None:
    old = table.stopped(run)
    score(other_run, bars=table.bars, to=table.to, start="2015-12-23", end="2015-12-23", local=True)
    (name, newer), *_ = table.content().items()
    code, _, err = table.goes_on(old)
    assert (code, ": 2015-12-23: written by another job" in err) == (2, True), err
    score(run, bars=table.bars, to=str(tmp_path / "whole"), start=START, end=END, local=True)
    whole = {f"date={day}/scores.parquet": data for day, data in bytes_of(tmp_path / "whole").items()}
    assert table.content() == {**whole, name: newer}
