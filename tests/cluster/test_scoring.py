"""Scoring: the table by its contract, equal bytes however it comes about, and nothing half done."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from raybench.cli.app import run as command
from raybench.cluster.scoring import score
from raybench.config import Config
from raybench.data import storage
from raybench.data.bars import open_bars
from raybench.data.synthetic import UNIVERSE
from raybench.errors import DataError
from raybench.score.inputs import device_of
from raybench.score.refused import read_refused, refused_uri
from raybench.score.table import SCHEMA, read_scores, scored_dates, write_date
from raybench.train.artifact import load_run
from tests.cluster.scored import bytes_of, days_of, files_of, import_frame

MakeConfig = Callable[..., Config]
MakeRun = Callable[[Config], str]


@pytest.fixture(scope="session")
def whole(run: str, market_bars: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Scores of the whole test segment; read only."""
    to = str(tmp_path_factory.mktemp("whole") / "scores")
    score(run, bars=market_bars, to=to, local=True)
    return to


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
    assert sorted(path.name for path in Path(whole).parent.iterdir()) == ["scores"]


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


@pytest.fixture(scope="module")
def other(make_config: MakeConfig, make_run: MakeRun) -> str:
    """The run trained again with another seed; read only."""
    return make_run(make_config(train__seed=5))


@pytest.mark.parametrize("lost", [0, 50, -1])
def test_dates_of_another_run_are_refused_before_any_work(
    run: str, other: str, market_bars: str, whole: str, tmp_path: Path, lost: int
) -> None:
    to = copied(whole, tmp_path)
    shutil.rmtree(Path(to) / f"date={days_of(to)[lost]}")
    before = times_of(to)
    with pytest.raises(DataError, match=rf"by run {load_run(run).run_id}, and --model is run {load_run(other).run_id}"):
        score(other, bars=market_bars, to=to, local=True)
    assert times_of(to) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scores"]


def test_another_run_takes_a_table_over_from_a_date_on(
    run: str, other: str, market_bars: str, whole: str, tmp_path: Path
) -> None:
    """A network that is trained anew each month: with --start, as the error says, or with --since-last."""
    days = days_of(whole)
    for name, options in (("a", {"start": days[-2]}), ("b", {"since_last": True})):
        to = copied(whole, tmp_path / name)
        for day in days[-2:]:
            shutil.rmtree(Path(to) / f"date={day}")
        with pytest.raises(DataError, match=rf"--overwrite .*--start {days[-2]} keeps them"):
            score(other, bars=market_bars, to=to, local=True)
        done = score(other, bars=market_bars, to=to, local=True, **options)  # type: ignore[arg-type]
        assert list(done.written) == days[-2:]
        assert set(read_scores(to)["run_id"]) == {load_run(run).run_id, load_run(other).run_id}
        assert score(other, bars=market_bars, to=to, start=days[-2], local=True).present == 2


def test_overwrite_gives_the_table_to_another_run(other: str, market_bars: str, whole: str, tmp_path: Path) -> None:
    to = copied(whole, tmp_path)
    score(other, bars=market_bars, to=to, overwrite=True, local=True)
    assert set(read_scores(to)["run_id"]) == {load_run(other).run_id}


def test_a_folder_of_seeds_is_an_ensemble_of_them(
    run: str, other: str, market_bars: str, whole: str, tmp_path: Path
) -> None:
    for seed, trained in ((10, other), (2, run)):
        shutil.copytree(trained, tmp_path / "seeds" / f"seed-{seed}")
    day = days_of(whole)[-1]
    score(str(tmp_path / "seeds"), bars=market_bars, to=str(tmp_path / "folder"), start=day, local=True)
    score([run, other], bars=market_bars, to=str(tmp_path / "named"), start=day, local=True)
    assert bytes_of(tmp_path / "folder") == bytes_of(tmp_path / "named")


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
        patch.setattr(storage, "_checkpoint", fail_at_the_third)
        with pytest.raises(OSError, match="disk gone"):
            score(run, bars=market_bars, to=to, start=first, end=last, local=True)
    found = bytes_of(to)
    assert len(found) < 10
    assert all(content == reference[day] for day, content in found.items())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scores"]
    done = score(run, bars=market_bars, to=to, start=first, end=last, local=True)
    assert len(done.written) == 10 - len(found)
    assert bytes_of(to) == {day: reference[day] for day in days_of(whole)[:10]}


def test_runs_are_combined_within_the_date(
    run: str, make_config: MakeConfig, make_run: MakeRun, market_bars: str, whole: str, tmp_path: Path
) -> None:
    other = make_run(make_config(model__type="lstm", model__hidden_size=5, data__step_len=5))
    start = days_of(whole)[-4:][0]
    for to, models in (("other", [other]), ("both", [run, other])):
        score(models, bars=market_bars, to=str(tmp_path / to), start=start, local=True)
    first, second = (
        read_scores(uri, start=start).set_index(["datetime", "instrument"])["score"]
        for uri in (whole, str(tmp_path / "other"))
    )
    expected = (standardised(first) + standardised(second)) / 2
    both = read_scores(str(tmp_path / "both"))
    np.testing.assert_allclose(both["score"], expected, atol=2e-6)
    assert set(both["run_id"]).isdisjoint({load_run(run).run_id, load_run(other).run_id})
    assert both["run_id"].nunique() == 1


@pytest.mark.ray
def test_a_killed_scorer_changes_nothing(
    local_ray: None, run: str, market_bars: str, whole: str, tmp_path: Path
) -> None:
    to, killed = tmp_path / "scores", []

    class Kill:
        """A progress that kills one scoring process when the first date is out."""

        @contextmanager
        def track(self, name: str, total: int | None, *, at_most: bool = False):  # type: ignore[no-untyped-def]
            def advance(n: int = 1, text: str = "") -> None:
                if name == "scoring dates" and not killed:
                    killed.append(kill_process("_PoolScorer"))

            yield advance

        def note(self, text: str) -> None:
            pass

    score(run, bars=market_bars, to=str(to), local=False, progress=Kill())
    assert killed
    assert bytes_of(to) == bytes_of(whole)


def test_min_coverage_leaves_dates_out_and_says_so(
    run: str, market_bars: str, whole: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bars of the last two dates did not arrive for half of the instruments."""
    bars, to, late = str(tmp_path / "bars"), str(tmp_path / "scores"), days_of(whole)[-2:]
    rows = open_bars(market_bars).block().to_frame()
    half = rows["instrument"].isin(sorted(set(rows["instrument"]))[::2])
    import_frame(rows[~(half & (rows["datetime"] >= late[0]))], bars, like=market_bars)
    line = ["score", "--model", run, "--bars", bars, "--to", to, "--local", "--quiet", "--json"]
    assert command([*line, "--start", days_of(whole)[-5:][0], "--min-coverage", "0.9"]) == 3
    out, err = capsys.readouterr()
    assert json.loads(out.splitlines()[-1])["low_coverage"] == late
    assert err.count("\n") == 1
    assert late[0] in err
    assert "--min-coverage" in err
    assert days_of(to) == days_of(whole)[-5:][:3]
    assert {path.name for path in Path(to).iterdir()} == {f"date={day}" for day in days_of(to)}
    assert [str(day) for day in read_refused(to)] == late
    assert command([*line, "--since-last", "--min-coverage", "0.1"]) == 0
    assert not Path(refused_uri(to)).exists()
    coverage = [scored_dates(to, day, day).popitem()[1].coverage for day in late]
    assert all(0.2 < share < 0.8 for share in coverage if share is not None), coverage


def test_dates_on_which_nobody_is_a_member_are_named(
    make_config: MakeConfig, make_run: MakeRun, market_bars: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(make_config(data__universe="late"))
    line = ["score", "--model", run, "--bars", market_bars, "--to", str(tmp_path / "s"), "--local", "--quiet"]
    assert command([*line, "--json", "--start", "2014-09-26", "--end", "2014-10-02"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["empty"] == ["2014-09-26", "2014-09-29", "2014-09-30"]
    assert summary["dates_written"] == len(days_of(tmp_path / "s")) == 2
    assert "nobody can be scored on 2014-09-26" in summary["warnings"][0]
    assert command([*line, "--end", "2014-09-30", "--start", "2014-09-26"]) == 2
    assert "universe late has no member from 2014-09-26 to 2014-09-30" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"--model": "nowhere"}, "nowhere is not a finished run"),
        ({"--bars": "nowhere"}, "is not a bars dataset"),
        ({"--bars": None}, "give --bars BARS or --features FEATURES"),
        ({"--bars": None, "--features": "nowhere"}, "nowhere"),
        ({"--start": "2016-06-01"}, "no date to score from 2016-06-01"),
        ({"--start": "soon"}, "--start is 'soon'"),
        ({"--end": "2015-02-30"}, "--end is '2015-02-30'"),
        ({"--min-coverage": "1.5"}, "--min-coverage"),
    ],
)
def test_errors_are_one_line_and_leave_nothing(
    run: str,
    market_bars: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, str | None],
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    options = {"--model": run, "--bars": market_bars, "--to": "scores"} | changes
    line = [part for name, value in options.items() if value is not None for part in (name, value)]
    assert command(["score", *line, "--local", "--quiet"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert says in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("place", "holds"), [("run", "a run"), ("market_bars", "a bars dataset")])
def test_scores_are_not_written_among_other_things(
    request: pytest.FixtureRequest, run: str, market_bars: str, place: str, holds: str
) -> None:
    to = str(request.getfixturevalue(place))
    before = sorted(Path(to).iterdir())
    with pytest.raises(DataError, match=f"^--to is {to}, which holds {holds}"):
        score(run, bars=market_bars, to=to, local=True)
    assert sorted(Path(to).iterdir()) == before


def test_gpus_are_used_where_there_are_any_and_no_run_does_without(
    run: str, make_config: MakeConfig, make_run: MakeRun
) -> None:
    on_any, on_cpu = load_run(run), load_run(make_run(make_config(cluster__use_gpu="false")))
    assert device_of([on_any], gpus=2) == "cuda"
    assert device_of([on_any], gpus=0) == device_of([on_any, on_cpu], gpus=2) == "cpu"


def test_runs_of_different_universes_are_not_combined(
    run: str, make_config: MakeConfig, make_run: MakeRun, market_bars: str, tmp_path: Path
) -> None:
    other = make_run(make_config(data__universe="all"))
    with pytest.raises(DataError, match=r"different universes \(demo, all\)"):
        score([run, other], bars=market_bars, to=str(tmp_path / "s"), local=True)


def test_dates_that_landed_on_another_disk_are_missed(
    run: str, market_bars: str, whole: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = days_of(whole)[-1]

    def write_elsewhere(to: str, day: object, *rest: Any) -> None:
        write_date(str(tmp_path / "elsewhere") if str(day) == lost else to, str(day), *rest)

    monkeypatch.setattr("raybench.score.job.write_date", write_elsewhere)
    with pytest.raises(DataError, match="1 of 3 dates were written on nodes whose disk"):
        score(run, bars=market_bars, to=str(tmp_path / "s"), start=days_of(whole)[-3], local=True)


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


def copied(scores: str, tmp_path: Path) -> str:
    to = tmp_path / "scores"
    shutil.copytree(scores, to)
    return str(to)


def times_of(scores: str) -> dict[str, int]:
    return {day: file.stat().st_mtime_ns for day, file in files_of(scores).items()}


def standardised(score: pd.Series) -> pd.Series:
    groups = score.astype(np.float64).groupby("datetime")
    return (score - groups.transform("mean")) / groups.transform("std", ddof=0)


def kill_process(name: str) -> int:
    """SIGKILL a process whose title holds ``name``, as a machine that goes away would."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            title = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if title.startswith(b"ray::") and name.encode() in title:
            os.kill(int(folder.name), signal.SIGKILL)
            return int(folder.name)
    raise AssertionError(f"no process {name}")
