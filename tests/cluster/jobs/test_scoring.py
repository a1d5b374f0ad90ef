"""Scoring: the table by its contract, equal bytes however it comes about, and nothing half done."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from raybench.cluster.jobs.scoring import score
from raybench.config import Config, load_config
from raybench.errors import RaybenchError
from raybench.market.bars import open_bars
from raybench.market.synthetic import UNIVERSE
from raybench.runs.artifact import load_run
from raybench.scoring.inputs import device_of
from raybench.scoring.table import SCHEMA, read_scores, scored_dates
from raybench.storage import files
from tests.cluster.scored import bytes_of, copied, days_of, files_of, times_of
from tests.cluster.watch import Watch

MakeConfig = Callable[..., Config]
MakeRun = Callable[[Config], str]


def test_table_follows_the_contract(whole: str, run: str, market_bars: str) -> None:
    bars = open_bars(market_bars)
    calendar = bars.calendar[bars.calendar >= np.datetime64("2015-08-03")]
    assert days_of(whole) == [str(day) for day in calendar.astype("datetime64[D]")]
    for day, file in files_of(whole).items():
        table = pq.read_table(file, partitioning=None)
        assert table.schema.remove_metadata() == SCHEMA
        frame = table.to_pandas()
        assert frame["instrument"].is_monotonic_increasing
        assert frame["instrument"].is_unique
        assert (frame["datetime"] == pd.Timestamp(day)).all()
        by_rank = frame.sort_values("rank")
        assert list(by_rank["rank"]) == list(range(1, len(frame) + 1))
        assert by_rank["score"].is_monotonic_decreasing
        assert set(frame["run_id"]) == {load_run(run).run_id}
    assert sorted(path.name for path in Path(whole).parent.iterdir()) == ["scores", "scores.audit"]


def test_members_with_bars_are_there_suspended_ones_too_and_nobody_else(
    run: str, market_bars: str, tmp_path: Path
) -> None:
    bars = open_bars(market_bars)
    universe = bars.universe(UNIVERSE)
    rows = bars.block().to_frame()
    rows = rows[rows["datetime"].between("2015-06-01", "2015-08-31")]
    inside = [
        here[universe.contains(str(name), here["datetime"].to_numpy("datetime64[us]"))]
        for name, here in rows.groupby("instrument")
    ]
    expected = pd.concat(inside).sort_values(["datetime", "instrument"], ignore_index=True)
    assert expected["close"].isna().any(), "a member is suspended"
    assert expected.groupby("datetime")["instrument"].agg(frozenset).nunique() > 1, "membership changes"
    score(run, bars=market_bars, to=str(tmp_path), start="2015-06-01", end="2015-08-31", local=True)
    keys = ["datetime", "instrument"]
    pd.testing.assert_frame_equal(read_scores(str(tmp_path))[keys], expected[keys], check_dtype=False)


def test_coverage_counts_members_without_bars_too(
    whole: str, make_config: MakeConfig, make_run: MakeRun, market_bars: str, tmp_path: Path
) -> None:
    facts = scored_dates(whole)
    assert {fact.coverage for fact in facts.values()} == {1.0}
    assert all(fact.extra["members"] == fact.rows for fact in facts.values())
    ghostly = make_run(make_config(data__universe="late"))
    score(ghostly, bars=market_bars, to=str(tmp_path), start=days_of(whole)[-1], local=True)
    (fact,) = scored_dates(str(tmp_path)).values()
    assert fact.coverage == fact.rows / (fact.rows + 1) < 1


@pytest.mark.ray
def test_ray_gives_the_same_bytes(local_ray: None, run: str, market_bars: str, whole: str, tmp_path: Path) -> None:
    done = score([run], bars=market_bars, to=str(tmp_path / "scores"), local=False)
    assert done.written == tuple(days_of(whole))
    assert bytes_of(tmp_path / "scores") == bytes_of(whole)


@pytest.mark.ray
def test_ray_data_reads_the_folder(local_ray: None, whole: str, tmp_path: Path) -> None:
    import ray

    days = days_of(whole)[:3]
    for day in days:
        shutil.copytree(Path(whole) / f"date={day}", tmp_path / f"date={day}")
    theirs = ray.data.read_parquet(str(tmp_path)).to_pandas()
    assert sorted(theirs["date"].astype(str).unique()) == days
    theirs = theirs.sort_values(["datetime", "instrument"], ignore_index=True)
    np.testing.assert_array_equal(theirs["score"], read_scores(whole, end=days[-1])["score"])


@pytest.mark.parametrize("which", [0, 1, 50, -1])
def test_a_date_alone_gives_the_same_bytes(run: str, market_bars: str, whole: str, tmp_path: Path, which: int) -> None:
    day = days_of(whole)[which]
    score(run, bars=market_bars, to=str(tmp_path), start=day, end=day, local=True)
    assert bytes_of(tmp_path) == {day: bytes_of(whole)[day]}


def test_again_does_only_what_is_missing(run: str, market_bars: str, whole: str, tmp_path: Path) -> None:
    to = copied(whole, tmp_path)
    before, lost = times_of(to), days_of(to)[7]
    shutil.rmtree(Path(to) / f"date={lost}")
    done = score(run, bars=market_bars, to=to, local=True)
    assert (done.written, done.present) == ((lost,), len(before) - 1)
    after = times_of(to)
    assert after.pop(lost) != before.pop(lost)
    assert after == before
    assert bytes_of(to) == bytes_of(whole)
    again = score(run, bars=market_bars, to=to, local=True)
    assert (again.written, again.present, again.rows) == ((), len(days_of(whole)), 0)


def test_overwrite_does_the_range_again(run: str, market_bars: str, whole: str, tmp_path: Path) -> None:
    to = copied(whole, tmp_path)
    before, last = times_of(to), days_of(whole)[-3:]
    done = score(run, bars=market_bars, to=to, start=last[0], end=last[1], overwrite=True, local=True)
    assert list(done.written) == last[:2]
    assert [day for day, time in times_of(to).items() if time != before[day]] == last[:2]
    assert bytes_of(to) == bytes_of(whole)


def test_since_last_goes_on_behind_the_last_date(run: str, market_bars: str, whole: str, tmp_path: Path) -> None:
    to = copied(whole, tmp_path)
    hole, last = days_of(whole)[3], days_of(whole)[-2:]
    for day in (hole, *last):
        shutil.rmtree(Path(to) / f"date={day}")
    done = score(run, bars=market_bars, to=to, since_last=True, local=True)
    assert list(done.written) == last
    assert hole not in days_of(to)
    assert score(run, bars=market_bars, to=to, since_last=True, local=True).written == ()


def test_the_last_date_is_that_of_the_table_whatever_the_end(
    run: str, market_bars: str, whole: str, tmp_path: Path
) -> None:
    to = copied(whole, tmp_path)
    hole = days_of(whole)[-2]
    shutil.rmtree(Path(to) / f"date={hole}")
    assert score(run, bars=market_bars, to=to, since_last=True, end=hole, local=True).written == ()


@pytest.mark.parametrize("step", ["stage", "write", "sync", "rename", "sync folder"])
def test_a_date_is_there_wholly_or_not_at_all(
    run: str, market_bars: str, whole: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Publishing fails at its third call; what readers find is whole, and the next job does the rest."""
    to, calls = str(tmp_path / "scores"), 0

    def fail_at_the_third(name: str, uri: str) -> None:
        nonlocal calls
        calls += name == step
        if name == step and calls == 3:
            raise OSError("disk gone")

    reference = bytes_of(whole)
    first, last = days_of(whole)[0], days_of(whole)[9]
    with monkeypatch.context() as patch:
        patch.setattr(files, "_checkpoint", fail_at_the_third)
        with pytest.raises(OSError, match="disk gone"):
            score(run, bars=market_bars, to=to, start=first, end=last, local=True)
    found = bytes_of(to)
    assert len(found) < 10
    assert all(content == reference[day] for day, content in found.items())
    beside = {path.name for path in tmp_path.iterdir()}
    assert {"scores"} <= beside <= {"scores", "scores.audit", "scores.refused.json"}
    done = score(run, bars=market_bars, to=to, start=first, end=last, local=True)
    assert len(done.written) == 10 - len(found)
    assert bytes_of(to) == {day: reference[day] for day in days_of(whole)[:10]}


@pytest.mark.ray
def test_a_killed_scorer_changes_nothing(
    local_ray: None, run: str, market_bars: str, whole: str, tmp_path: Path
) -> None:
    to, killed = tmp_path / "scores", []

    class Kill:
        """A progress that kills one scoring process when the first date is out."""

        @contextmanager
        def track(self, name: str, total: int | None, *, at_most: bool = False, alike: bool = False):  # type: ignore[no-untyped-def]
            def advance(n: int = 1, text: str = "") -> None:
                if name == "scoring dates" and not killed:
                    killed.append(kill_process("_PoolScorer"))

            yield advance

        def note(self, text: str) -> None:
            pass

    score(run, bars=market_bars, to=str(to), local=False, progress=Kill())
    assert killed
    assert bytes_of(to) == bytes_of(whole)


@pytest.mark.ray
@pytest.mark.slow
def test_a_scorer_that_hangs_is_named_and_ended_and_its_dates_are_done(
    local_ray: None, run: str, market_bars: str, whole: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAYBENCH_RESULT_SECONDS", "4")
    stopped: list[int] = []
    watch = Watch(0, lambda: None)

    @contextmanager
    def track(name: str, total: int | None, *, at_most: bool = False):  # type: ignore[no-untyped-def]
        def advance(n: int = 1, text: str = "") -> None:
            if name == "scoring dates" and not stopped:
                with suppress(AssertionError):  # between two of its tasks nobody would miss it
                    stopped.append(kill_process("_PoolScorer.work", signal.SIGSTOP))

        yield advance

    monkeypatch.setattr(watch, "track", track)
    try:
        score(run, bars=market_bars, to=str(tmp_path / "scores"), local=False, progress=watch)
        named = f"process {stopped[0]} on "
        (told,) = [note for note in watch.notes if "brought no result for 4 s (RAYBENCH_RESULT_SECONDS)" in note]
        assert named in told
        gone = time.monotonic() + 20
        while Path(f"/proc/{stopped[0]}").exists() and time.monotonic() < gone:
            time.sleep(0.1)
        assert not Path(f"/proc/{stopped[0]}").exists()
    finally:
        for pid in stopped:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    assert bytes_of(tmp_path / "scores") == bytes_of(whole)


@pytest.mark.ray
@pytest.mark.slow
def test_an_error_that_nobody_foresaw_is_tried_again_but_not_for_ever(
    local_ray: None, make_config: MakeConfig, make_run: MakeRun, market_bars: str, tmp_path: Path
) -> None:
    def run_that_fails(what: str) -> str:
        tree = make_config().model_dump(by_alias=True)
        log = str(tmp_path / f"{what}.log")
        tree["model"] = {"type": "tests.cluster.failing_network:Fails", "log": log, "what": what}
        return make_run(load_config(tree))

    def scored(model: str, to: str, *, local: bool = False) -> None:
        score(model, bars=market_bars, to=to, start="2015-12-14", local=local, trust=True, progress=watch)

    watch, once, to = Watch(0, lambda: None), run_that_fails("scoring once"), str(tmp_path / "once")
    scored(once, to)
    assert [note for note in watch.notes if "RuntimeError: boom; it is done again" in note]
    scored(once, str(tmp_path / "here"), local=True)
    assert bytes_of(to) == bytes_of(tmp_path / "here")
    with pytest.raises(RaybenchError, match=r"the last because RuntimeError: boom; what is finished stays"):
        scored(run_that_fails("scoring error"), str(tmp_path / "always"))
    assert not list((tmp_path / "always").glob("date=*"))


def test_gpus_are_used_where_there_are_any_and_no_run_does_without(
    run: str, make_config: MakeConfig, make_run: MakeRun
) -> None:
    on_any, on_cpu = load_run(run), load_run(make_run(make_config(cluster__use_gpu="false")))
    assert device_of([on_any], gpus=2) == "cuda"
    assert device_of([on_any], gpus=0) == device_of([on_any, on_cpu], gpus=2) == "cpu"


@pytest.mark.ray
@pytest.mark.slow
def test_the_command_says_only_what_is_ours(run: str, market_bars: str, whole: str, tmp_path: Path) -> None:
    """In a process of its own, with a Ray of its own: no banner, no warning, JSON last."""
    day = days_of(whole)[-1]
    line = [
        "score",
        "--model",
        run,
        "--bars",
        market_bars,
        "--to",
        str(tmp_path / "s"),
        "--start",
        day,
        "--json",
        "--ray",
    ]
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    done = subprocess.run([sys.executable, "-m", "raybench", *line], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["dates_written"] == 1
    ours = ("starting Ray", "applying processors", "reading", "scoring dates")
    assert [text for text in done.stderr.splitlines() if not text.startswith(ours)] == []
    assert bytes_of(tmp_path / "s") == {day: bytes_of(whole)[day]}


def kill_process(name: str, number: int = signal.SIGKILL) -> int:
    """SIGKILL a process whose title holds ``name``, as a machine that goes away would; or another signal."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            title = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if title.startswith(b"ray::") and name.encode() in title:
            os.kill(int(folder.name), number)
            return int(folder.name)
    raise AssertionError(f"no process {name}")
