"""Scores know what they were made from: what is missing, refused or stale is told, and only that redone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pandas as pd
import pytest

from raybench.cli.app import run as command
from raybench.cluster.jobs.scoring import score
from raybench.config import Config
from raybench.market.bars import BarBlock, open_bars
from raybench.market.importing.job import import_bars
from raybench.market.sources import memory_source
from raybench.market.synthetic import UNIVERSE
from raybench.market.universe import universe_of_frame
from raybench.scoring.audit import audit_uri, last_job
from raybench.scoring.made_from import read_made_from
from raybench.scoring.status import status
from raybench.scoring.table import scored_dates
from tests.cluster.scored import bytes_of, days_of, import_frame
from tests.small import write_concepts

MakeConfig = Callable[..., Config]
MakeRun = Callable[[Config], str]
START = "2015-10-01"
MODELS = {
    "alpha158": {},
    "alpha360": {"data__feature_set": "{type: alpha360}", "data__step_len": 60},
    "by date": {"data__processors__infer": "[{class: CSZScoreNorm, kwargs: {fields_group: feature}}, {class: Fillna}]"},
}


@pytest.fixture(scope="module")
def rows(market_bars: str) -> pd.DataFrame:
    return open_bars(market_bars).block().to_frame()


@pytest.fixture(scope="module")
def models(make_config: MakeConfig, make_run: MakeRun) -> dict[str, str]:
    return {name: make_run(make_config(**changes)) for name, changes in MODELS.items()}


@pytest.fixture(scope="module")
def scored(models: dict[str, str], market_bars: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A table of each model from START on; read only."""
    room = tmp_path_factory.mktemp("scored")
    for name, run in models.items():
        score(run, bars=market_bars, to=str(room / name), start=START, local=True)
    return {name: str(room / name) for name in models}


def typed(*words: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "raybench", *words]
    known = os.environ | {"COLUMNS": "80"} | environment
    return subprocess.run(line, cwd=folder, capture_output=True, text=True, timeout=120, env=known)


def restated(rows: pd.DataFrame, name: str, day: str) -> pd.DataFrame:
    """One bar is another."""
    changed = rows.copy()
    here = (changed["instrument"] == name) & (changed["datetime"] == pd.Timestamp(day))
    assert here.sum() == 1
    changed.loc[here, ["open", "high", "low", "close"]] *= 1.01
    return changed


@pytest.mark.parametrize("model", MODELS)
def test_exactly_the_dates_that_come_out_otherwise_are_stale_and_their_instruments_named(
    model: str, models: dict[str, str], scored: dict[str, str], market_bars: str, rows: pd.DataFrame, tmp_path: Path
) -> None:
    """What is stale is what a scoring of the other bars makes other bytes of, the hash in the footer left aside."""
    days = days_of(scored[model])
    member = trading(rows, scored[model], days[20])
    bars = import_frame(restated(rows, member, days[20]), str(tmp_path / "bars"), like=market_bars)
    assert status(scored[model], bars=market_bars).stale.dates == ()  # type: ignore[union-attr]
    stale = status(scored[model], bars=bars).stale
    assert stale is not None
    assert stale.unknown == ()
    assert [str(day) for day in stale.dates][:1] == [days[20]]
    assert dict(stale.changed) == {member: date.fromisoformat(days[20])}
    again = str(tmp_path / "again")
    score(models[model], bars=bars, to=again, start=START, local=True)
    others = [day for day in days if bytes_of(again)[day] != bytes_of(scored[model])[day]]
    assert [str(day) for day in stale.dates] == others
    assert 0 < len(others) < len(days)
    for day in sorted(set(days) - set(others)):
        assert values(again, day).equals(values(scored[model], day))
    assert any(not values(again, day).equals(values(scored[model], day)) for day in others)


def values(scores: str, day: str) -> pd.DataFrame:
    return pd.read_parquet(Path(scores) / f"date={day}" / "scores.parquet", partitioning=None)


def trading(rows: pd.DataFrame, scores: str, day: str) -> str:
    """One that is in the table of a day, and not suspended on it."""
    there = rows[(rows["datetime"] == pd.Timestamp(day)) & rows["close"].notna()]["instrument"]
    return str(sorted(set(there) & set(values(scores, day)["instrument"]))[3])


def test_the_hash_does_not_depend_on_what_else_is_scored(
    run: str, scored: dict[str, str], market_bars: str, rows: pd.DataFrame, tmp_path: Path
) -> None:
    day = days_of(scored["alpha158"])[12]
    cut = import_frame(rows[rows["datetime"] <= day], str(tmp_path / "bars"), like=market_bars)
    to = str(tmp_path / "scores")
    score(run, bars=cut, to=to, start=day, end=day, local=True)
    ours, theirs = (
        read_made_from(scored_dates(uri, day, day).popitem()[1].extra, where=uri) for uri in (to, scored["alpha158"])
    )
    assert [part.to_json() for part in ours] == [part.to_json() for part in theirs]
    assert len(ours) == 1


@pytest.mark.ray
def test_ray_keeps_the_same_hashes(
    local_ray: None, models: dict[str, str], market_bars: str, scored: dict[str, str], tmp_path: Path
) -> None:
    to = str(tmp_path / "scores")
    score(models["by date"], bars=market_bars, to=to, start=START, local=False)
    assert bytes_of(to) == bytes_of(scored["by date"])


def test_only_stale_dates_are_scored_again(
    models: dict[str, str], scored: dict[str, str], market_bars: str, rows: pd.DataFrame, tmp_path: Path
) -> None:
    run = models["alpha158"]
    to, days = str(tmp_path / "scores"), days_of(scored["alpha158"])
    shutil.copytree(scored["alpha158"], to)
    other = restated(rows, trading(rows, to, days[5]), days[5])
    bars = import_frame(other, str(tmp_path / "bars"), like=market_bars)
    stale = [str(day) for day in status(to, bars=bars).stale.dates]  # type: ignore[union-attr]
    before = {day: (Path(to) / f"date={day}" / "scores.parquet").stat().st_mtime_ns for day in days}
    done = typed(
        "score",
        "--model",
        run,
        "--bars",
        "bars",
        "--to",
        "scores",
        "--stale",
        "--local",
        "--json",
        "-q",
        folder=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["dates_written"] == len(stale) > 0
    after = {day: (Path(to) / f"date={day}" / "scores.parquet").stat().st_mtime_ns for day in days}
    assert [day for day in days if after[day] != before[day]] == stale
    score(run, bars=bars, to=str(tmp_path / "whole"), start=START, local=True)
    assert bytes_of(to) == bytes_of(tmp_path / "whole")
    again = typed("score", "--model", run, "--bars", "bars", "--to", "scores", "--stale", "--local", folder=tmp_path)
    assert again.returncode == 0
    assert "nothing new to score" in again.stdout
    for words in (["--since-last"], ["--overwrite"]):
        both = typed("score", "--model", run, "--bars", "bars", "--to", "scores", "--stale", *words, folder=tmp_path)
        assert both.returncode == 2
        assert "--stale" in both.stderr.splitlines()[-1]


def test_the_command_says_what_is_there_and_what_is_not(
    run: str,
    scored: dict[str, str],
    market_bars: str,
    rows: pd.DataFrame,
    make_run: MakeRun,
    make_config: MakeConfig,
    tmp_path: Path,
) -> None:
    to, days = tmp_path / "scores", days_of(scored["alpha158"])
    shutil.copytree(scored["alpha158"], to)
    os.symlink(market_bars, tmp_path / "bars")
    good = typed("status", "scores", "--bars", "bars", folder=tmp_path)
    assert good.returncode == 0, good.stderr
    assert good.stdout.splitlines()[0] == "scores: up to date"
    assert "none is stale" in good.stdout
    assert f"{len(days)} dates, {days[0]} to {days[-1]}" in good.stdout
    assert max(map(len, good.stdout.splitlines())) <= 100
    alone = typed("status", "scores", folder=tmp_path)
    assert alone.returncode == 0
    assert "not compared with any data" in alone.stdout
    shutil.rmtree(to / f"date={days[7]}")
    hole = typed("status", "scores", "--bars", "bars", "--json", folder=tmp_path)
    assert hole.returncode == 0, "an old hole is told, and is no reason to wake anybody"
    assert json.loads(hole.stdout)["missing"] == [days[7]]
    late = typed("status", "scores", "--bars", "bars", "--market", "24/7", "--json", folder=tmp_path)
    assert late.returncode == 1
    told = json.loads(late.stdout)
    assert told["missing"] == [days[7], told["expected"]]
    other = make_run(make_config(train__seed=9))
    score(other, bars=market_bars, to=str(to), start=days[-1], overwrite=True, local=True)
    shutil.rmtree(to / f"date={days[-2]}")
    told = json.loads(typed("status", "scores", "--bars", "bars", "--json", folder=tmp_path).stdout)
    assert (told["missing"], len(told["other_runs"]), told["stale"]) == ([days[7], days[-2]], 1, [])
    assert told["by_date"][0]["rows"] == told["by_date"][0]["members"]
    assert told["last_job"]["written"] == [days[-1]]
    shutil.rmtree(to / f"date={days[-1]}")
    late = typed("status", "scores", "--bars", "bars", folder=tmp_path)
    assert late.returncode == 1
    assert f"not up to date, {days[-1]} is missing" in late.stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nowhere"], "there are no scores here"),
        (["file"], "is a file"),
        (["bars"], "holds a bars dataset"),
        (["scores", "--bars", "scores"], "is not a bars dataset"),
        (["scores", "--start", "soon"], "--start is 'soon'"),
        (["scores", "--market", "moon"], "--market moon: is no exchange"),
    ],
)
def test_errors_of_status_are_one_line(
    words: list[str], says: str, scored: dict[str, str], market_bars: str, tmp_path: Path
) -> None:
    os.symlink(market_bars, tmp_path / "bars")
    os.symlink(scored["alpha158"], tmp_path / "scores")
    (tmp_path / "file").write_text("x")
    done = typed("status", *words, folder=tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert says in line


def test_a_job_that_changes_the_table_leaves_a_line_and_no_other(run: str, market_bars: str, tmp_path: Path) -> None:
    to, day = str(tmp_path / "scores"), "2015-12-30"
    score(run, bars=market_bars, to=to, start=day, end=day, local=True)
    job = last_job(to)
    assert job is not None
    assert (job["command"], job["written"], job["refused"], job["ended"]) == ("score", [day], [], "done")
    assert job["inputs"] == {
        "models": [run],
        "bars": market_bars,
        "bars_fingerprint": open_bars(market_bars).fingerprint,
    }
    assert "@" in job["who"]
    assert job["seconds"] > 0
    score(run, bars=market_bars, to=to, start=day, end=day, local=True)
    assert len(list(Path(audit_uri(to)).iterdir())) == 1


def test_dates_from_before_hashes_were_kept_are_not_known(
    run: str, market_bars: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("raybench.scoring.job.facts_of", lambda *_: {})
    to = str(tmp_path / "scores")
    score(run, bars=market_bars, to=to, start="2015-12-30", local=True)
    stale = status(to, bars=market_bars).stale
    assert stale is not None
    assert (len(stale.unknown), stale.dates) == (2, ())
    done = score(run, bars=market_bars, to=to, stale=True, local=True)
    assert done.written == ()
    assert any("before the hash of their rows was kept" in line for line in done.warnings)


def test_a_date_that_left_the_calendar_is_surplus_and_no_other_is_stale_for_it(
    make_run: MakeRun, make_config: MakeConfig, market_bars: str, rows: pd.DataFrame, tmp_path: Path
) -> None:
    """Of a run with concepts, whose hashes are of the same days."""
    concepts, _ = write_concepts(tmp_path, "2015-12-01")
    hist = {"model": "{type: hist, hidden_size: 8}", "train__dates_per_batch": 2, "data__concepts": concepts}
    run, to = make_run(make_config(**hist)), str(tmp_path / "scores")
    score(run, bars=market_bars, to=to, start="2015-12-14", local=True)
    days = days_of(to)
    bars = import_frame(rows[rows["datetime"] < days[-1]], str(tmp_path / "bars"), like=market_bars)
    found = status(to, bars=bars, concepts=concepts)
    assert found.stale is not None
    assert ([str(day) for day in found.surplus], found.stale.dates, found.whole) == ([days[-1]], (), True)
    told = typed("status", "scores", "--bars", "bars", "--concepts", concepts, "--json", folder=tmp_path)
    assert json.loads(told.stdout)["surplus"] == [days[-1]]
    done = score(run, bars=bars, to=to, stale=True, local=True)
    assert done.written == ()
    assert any(f"{days[-1]}: not in the calendar of the data" in line for line in done.warnings)


def test_concepts_of_dates_by_two_runs_are_compared_with_the_rows_of_each(
    make_run: MakeRun, make_config: MakeConfig, market_bars: str, tmp_path: Path
) -> None:
    concepts, newer = write_concepts(tmp_path, "2015-12-29")
    hist = {"model": "{type: hist, hidden_size: 8}", "train__dates_per_batch": 2, "data__concepts": concepts}
    to = str(tmp_path / "scores")
    for step_len, start, end in ((8, "2015-12-14", "2015-12-18"), (5, "2015-12-21", "2015-12-31")):
        run = make_run(make_config(**hist, data__step_len=step_len))
        score(run, bars=market_bars, to=to, start=start, end=end, local=True)
    assert status(to, bars=market_bars, concepts=concepts).stale.dates == ()  # type: ignore[union-attr]
    stale = status(to, bars=market_bars, concepts=newer).stale
    assert stale is not None
    assert [str(day) for day in stale.dates] == [day for day in days_of(to) if day >= "2015-12-29"]


def test_rows_are_held_against_the_universe_as_the_bars_have_it(
    scored: dict[str, str], market_bars: str, rows: pd.DataFrame, tmp_path: Path
) -> None:
    to = scored["alpha158"]
    days = days_of(to)
    before = status(to).members
    assert before == status(to, bars=market_bars).members
    spans = open_bars(market_bars).listed(UNIVERSE).to_frame()
    more = pd.concat([spans, pd.DataFrame({"instrument": ["NEW"], "start": [pd.Timestamp(days[3])], "end": [pd.NaT]})])
    universes = {UNIVERSE: universe_of_frame(UNIVERSE, more)}
    import_bars(memory_source(BarBlock.from_frame(rows)), str(tmp_path / "bars"), universes=universes)
    now = status(to, bars=str(tmp_path / "bars")).members
    assert {str(day): count - before[day] for day, count in now.items()} == {day: int(day >= days[3]) for day in days}


@pytest.mark.parametrize(
    ("layout", "says"),
    [
        (["date=2020-01-03/"], "has folders of dates, and none of them a scores.parquet"),
        (["date=2020-01-03/part-0.parquet"], "has folders of dates, and none of them a scores.parquet"),
        (["date=2020-02-30/scores.parquet"], "date=2020-02-30: is no date"),
    ],
)
def test_a_table_of_another_tool_is_one_line(
    layout: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in layout:
        path = tmp_path / "table" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            path.mkdir()
        else:
            path.write_bytes(b"x")
    for verb in ("status", "info"):
        assert command([verb, str(tmp_path / "table")]) == 2
        done = capsys.readouterr()
        assert (done.out, done.err.count("\n")) == ("", 1)
        assert says in done.err
