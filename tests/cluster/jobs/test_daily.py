"""A morning in one command: bars that came are appended, new dates scored; again, at once, killed, restated."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from raybench.cluster.jobs.daily import DailyResult
from raybench.cluster.jobs.scoring import score
from raybench.config import Config
from raybench.market.bars import open_bars
from raybench.market.importing.job import import_bars
from raybench.market.sources import open_source
from raybench.market.sources.spans_file import read_spans
from raybench.market.synthetic import UNIVERSE
from raybench.scoring.audit import last_job
from raybench.storage.claims import held
from tests.cluster.scored import bytes_of, days_of

MakeConfig = Callable[..., Config]
MakeRun = Callable[[Config], str]
FIELDS = ["open", "high", "low", "close", "volume"]


@pytest.fixture(scope="module")
def market(market_bars: str) -> pd.DataFrame:
    """The bars as a vendor has them: no rows for who is suspended, prices of two decimals."""
    rows = open_bars(market_bars).block().to_frame()[["instrument", "datetime", *FIELDS]].dropna()
    return rows[rows["datetime"] >= "2014-01-01"].reset_index(drop=True)


@pytest.fixture(scope="module")
def days(market: pd.DataFrame) -> list[str]:
    return sorted(market["datetime"].dt.strftime("%Y-%m-%d").unique())


class Room:
    """A folder with a delivery, and what daily makes of it."""

    def __init__(self, folder: Path, run: str, market_bars: str) -> None:
        self.folder, self.run = folder, run
        spans = open_bars(market_bars).listed(UNIVERSE).to_frame()
        spans.to_csv(folder / "demo.csv", index=False)
        (folder / "delivered").mkdir()
        config = {
            "import": {"source": "delivered", "universe": {UNIVERSE: "demo.csv"}},
            "bars": "bars",
            "score": {"model": run, "to": "scores", "start": "2015-12-01", "local": True, "redo_stale": True},
        }
        (folder / "daily.yaml").write_text(yaml.safe_dump(config))

    def deliver(self, rows: pd.DataFrame, name: str) -> None:
        aside = self.folder / "aside.parquet"
        rows.to_parquet(aside)
        os.replace(aside, self.folder / "delivered" / f"{name}.parquet")

    def replace(self, rows: pd.DataFrame, name: str) -> None:
        """Deliver one file in place of all before."""
        for old in (self.folder / "delivered").iterdir():
            old.unlink()
        self.deliver(rows, name)

    def start(self, *words: str) -> subprocess.Popen[str]:
        line = [sys.executable, "-m", "raybench", "daily", "daily.yaml", *words, "--json", "-q"]
        return subprocess.Popen(line, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def morning(self, *words: str, code: int = 0) -> Mapping[str, Any]:
        process = self.start(*words)
        out, err = process.communicate(timeout=300)
        assert process.returncode == code, err
        return json.loads(out) if out else {"error": err}  # type: ignore[no-any-return]

    def expected(self, rows: pd.DataFrame, to: str) -> dict[str, bytes]:
        """What one import and one scoring of it all makes."""
        rows.to_parquet(self.folder / f"{to}.parquet")
        universe = read_spans(str(self.folder / "demo.csv"), UNIVERSE)
        bars = str(self.folder / f"{to}-bars")
        import_bars(open_source(str(self.folder / f"{to}.parquet")), bars, universes={UNIVERSE: universe})
        score(self.run, bars=bars, to=str(self.folder / to), start="2015-12-01", local=True)
        return bytes_of(self.folder / to)


@pytest.fixture
def room(tmp_path: Path, run: str, market_bars: str) -> Room:
    return Room(tmp_path, run, market_bars)


def split(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    """The whole history of an instrument adjusted for a split."""
    changed = rows.copy()
    here = changed["instrument"] == name
    changed.loc[here, ["open", "high", "low", "close"]] /= 2
    changed.loc[here, "volume"] *= 2
    return changed


def test_day_by_day_gives_what_one_import_and_one_scoring_give(
    room: Room, market: pd.DataFrame, days: list[str]
) -> None:
    """With a restated history in the middle."""
    first = [day for day in days if day >= "2015-12-01"][2]
    room.deliver(market[market["datetime"] <= first], "history")
    told = room.morning()
    assert (told["newest"], told["up_to_date"], len(told["dates_written"])) == (first, True, 3)
    rows = market
    name = str(market[market["datetime"] == days[-1]]["instrument"].iloc[4])
    for day in days[days.index(first) + 1 : days.index(first) + 5]:
        if day == days[days.index(first) + 3]:
            rows = split(market, name)
            room.replace(rows[rows["datetime"] <= day], "restated")
            told = room.morning()
            assert list(told["restated"]) == [name]
            assert told["redone"]
        else:
            room.replace(rows[rows["datetime"] == day], day)
            told = room.morning()
            assert told["redone"] == []
        assert (told["dates_written"], told["newest"], told["stale"]) == ([day], day, [])
    assert bytes_of(room.folder / "scores") == room.expected(rows[rows["datetime"] <= day], "whole")


def test_a_morning_without_news_changes_nothing_and_loads_no_torch(
    room: Room, market: pd.DataFrame, days: list[str]
) -> None:
    room.deliver(market[market["datetime"] <= days[-2]], "history")
    room.morning()
    before = {path: path.stat().st_mtime_ns for path in room.folder.rglob("*") if path.is_file()}
    told = room.morning()
    assert (told["dates_written"], told["rows_imported"], told["up_to_date"]) == ([], 0, True)
    assert {path: path.stat().st_mtime_ns for path in room.folder.rglob("*") if path.is_file()} == before
    code = (
        "import sys; from raybench.cli.app import run; "
        "assert run(['daily', 'daily.yaml', '-q']) == 0; print('torch' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=room.folder, capture_output=True, text=True)
    assert done.stderr.splitlines()[-1] == "False", done.stderr
    assert "scores: up to date" in done.stdout
    job = last_job(str(room.folder / "scores"))
    assert job is not None
    assert (job["command"], job["imported"]["dates"]) == ("daily", len(days) - 1)
    room.deliver(market[market["datetime"] == days[-1]], days[-1])
    assert room.morning()["dates_written"] == [days[-1]]
    job = last_job(str(room.folder / "scores"))
    assert job is not None
    assert job["imported"]["dates"] == 1


def test_a_cluster_that_is_gone_takes_no_metrics_and_no_morning(
    room: Room, market: pd.DataFrame, days: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    room.deliver(market[market["datetime"] <= days[-2]], "history")
    line = [sys.executable, "-m", "raybench", "daily", "daily.yaml", "score.start=2015-12-28"]
    done = subprocess.run(line, cwd=room.folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "no metrics: RAY_ADDRESS is 127.0.0.1:9, which does not answer" in done.stderr
    assert days_of(room.folder / "scores")[-1] == days[-2]


def test_a_cluster_that_is_gone_is_told_before_anything_is_imported(
    room: Room, market: pd.DataFrame, days: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    room.deliver(market[market["datetime"] <= days[-2]], "history")
    began = time.monotonic()
    told = room.morning("score.local=null", code=2)["error"]
    assert time.monotonic() - began < 15
    assert told.startswith("error: RAY_ADDRESS is 127.0.0.1:9, which does not answer")
    assert told.count("\n") == 1
    assert not (room.folder / "bars").exists()


def test_of_two_at_once_one_does_it_and_the_other_waits(room: Room, market: pd.DataFrame, days: list[str]) -> None:
    room.deliver(market[market["datetime"] <= days[-2]], "history")
    both = [room.start() for _ in range(2)]
    told = [json.loads(process.communicate(timeout=300)[0]) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert [(one["up_to_date"], one["newest"], one["busy"]) for one in told] == [(True, days[-2], None)] * 2
    assert sorted(bool(one["dates_written"]) for one in told) == [False, True]
    assert bytes_of(room.folder / "scores") == room.expected(market[market["datetime"] <= days[-2]], "whole")


def test_one_that_waits_does_what_the_other_left(room: Room, market: pd.DataFrame, days: list[str]) -> None:
    room.deliver(market[market["datetime"] <= days[-2]], "history")
    with held(str(room.folder / "scores"), what="daily"):
        waits = subprocess.Popen(
            [sys.executable, "-m", "raybench", "daily", "daily.yaml", "--json"],
            cwd=room.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert waits.stderr is not None
        said = next(line for line in waits.stderr if "waiting for" in line)
        assert f"scores: waiting for `raybench daily` (process {os.getpid()} on" in said
        assert not (room.folder / "scores").exists()
    told = json.loads(waits.communicate(timeout=300)[0])
    assert (waits.returncode, told["newest"], told["busy"]) == (0, days[-2], None)


def test_one_that_has_waited_long_enough_does_not_say_that_scores_are_there(
    room: Room, market: pd.DataFrame, days: list[str]
) -> None:
    """Nor where they are: who is at work may be replacing them, and there is more that may have come."""
    code = (
        "import sys; from raybench.cli.app import run; from raybench.cluster.jobs import daily; "
        "daily.PATIENCE_SECONDS = 1.0; sys.exit(run(['daily', 'daily.yaml', *sys.argv[1:]]))"
    )
    room.deliver(market[market["datetime"] <= days[-2]], "history")
    with held(str(room.folder / "scores"), what="daily"):
        for words in (["--json"], []):
            line = [sys.executable, "-c", code, *words]
            done = subprocess.run(line, cwd=room.folder, capture_output=True, text=True, timeout=120)
            assert done.returncode == 1, done.stderr
            assert "Traceback" not in done.stderr
            if words:
                told = json.loads(done.stdout)
                assert (told["up_to_date"], told["newest"]) == (False, None)
                assert "is being written by `raybench daily`" in told["busy"]
                assert "after 1 s still" in told["busy"]
    assert "another process is still at work on it, nothing was done" in done.stdout
    assert "up to date" not in done.stdout
    assert not (room.folder / "scores").exists()


@pytest.mark.parametrize("when", ["scores", "bars"])
def test_one_that_is_killed_halfway_is_made_good_by_the_next(
    room: Room, market: pd.DataFrame, days: list[str], when: str
) -> None:
    """Killed with the new bars in place and some dates out, or while the bars are written."""
    room.deliver(market[market["datetime"] <= days[-12]], "history")
    room.morning()
    name = str(market[market["datetime"] == days[-12]]["instrument"].iloc[2])
    rows = split(market, name)
    room.replace(rows, "restated")
    there = len(days_of(room.folder / "scores"))
    before = (room.folder / "bars" / "metadata.json").read_bytes()
    process = room.start()
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        out = len(list((room.folder / "scores").glob("date=*")))
        new = (room.folder / "bars" / "metadata.json").read_bytes() != before
        if (when == "scores" and new and out > there) or (when == "bars" and (room.folder / "bars/.staging").exists()):
            break
    process.send_signal(signal.SIGKILL)
    process.communicate()
    told = room.morning()
    assert told["newest"] == days[-1]
    assert told["stale"] == []
    assert bytes_of(room.folder / "scores") == room.expected(rows, "whole")


def test_stale_dates_are_told_until_somebody_does_them(room: Room, market: pd.DataFrame, days: list[str]) -> None:
    room.deliver(market, "history")
    room.morning()
    name = str(market[market["datetime"] == days[-1]]["instrument"].iloc[2])
    room.replace(split(market, name), "restated")
    for _ in range(2):
        told = room.morning("score.redo_stale=false")
        assert told["stale"] == days_of(room.folder / "scores")
        assert list(told["changed"]) == [name]
        assert any("were made from bars that are others now" in line for line in told["warnings"])
    told = room.morning()
    assert told["redone"] == days_of(room.folder / "scores")
    assert room.morning()["stale"] == []


def test_a_session_that_the_bars_lack_is_missing(room: Room, market: pd.DataFrame, days: list[str]) -> None:
    room.deliver(market, "all")
    assert room.morning()["up_to_date"]
    for _ in range(2):  # the second has nothing new
        told = room.morning("market=24/7", code=1)
        assert (told["newest"], told["up_to_date"]) == (days[-1], False)
        assert told["expected"] > "2026"
    assert "market MOON: is no exchange" in room.morning("market=MOON", code=2)["error"]


def test_a_delivery_and_a_universe_that_are_not_utf8(room: Room, market: pd.DataFrame, days: list[str]) -> None:
    rows = market[market["datetime"] <= next(day for day in days if day >= "2015-12-01")]
    rows.rename(columns={"instrument": "股票代码", "datetime": "日期"}).to_csv(
        room.folder / "late.csv", index=False, encoding="gbk"
    )
    spans = (room.folder / "demo.csv").read_text()
    (room.folder / "demo.csv").write_text("# 成分股\n" + spans, encoding="gbk")
    assert "is not UTF-8 text" in room.morning("import.source=late.csv", code=2)["error"]
    assert len(room.morning("import.source=late.csv", "import.encoding=gb18030")["dates_written"]) == 1


def test_a_thin_delivery_is_refused_and_made_good(room: Room, market: pd.DataFrame, days: list[str]) -> None:
    room.deliver(market[market["datetime"] <= days[-2]], "history")
    room.morning()
    last = market[market["datetime"] == days[-1]]
    room.deliver(last[last["instrument"] <= "SYN0007"], "part")
    for _ in range(2):
        told = room.morning(code=3)
        assert (told["expected"], told["newest"], told["up_to_date"]) == (days[-1], days[-2], False)
        assert [one["date"] for one in told["refused"]] == [days[-1]]
    room.deliver(last, "rest")
    (room.folder / "delivered" / "part.parquet").unlink()
    told = room.morning()
    assert (told["dates_written"], told["newest"]) == ([days[-1]], days[-1])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("bars: b", "score: is required"),
        ("bars: b\nscore: {to: s}", "score.model: is required"),
        ("bars: b\nscore: {model: r, to: s, min_coverage: 2}", "score.min_coverage: want at most 1"),
        ("bars: b\nscores: s\nscore: {model: r, to: s}", "unknown key; did you mean 'score'?"),
        ("bars: nowhere\nscore: {model: r, to: s}", "nowhere: is not a bars dataset"),
        ("bars: b\nimport: {source: nothing}\nscore: {model: r, to: s}", "nothing"),
    ],
)
def test_errors_are_one_line(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "daily.yaml").write_text(text)
    line = [sys.executable, "-m", "raybench", "daily", "daily.yaml"]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2, done.stderr
    assert says in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["daily.yaml"]


def test_a_table_that_is_newer_than_the_bars_is_up_to_date() -> None:
    assert DailyResult(newest="2020-01-03", expected="2020-01-02").up_to_date
    assert not DailyResult(newest="2020-01-02", expected="2020-01-03").up_to_date
    assert not DailyResult(busy="somebody").up_to_date
