"""Scoring: what is refused or left out, and that it is said in one line."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from raybench.cli.app import run as command
from raybench.cluster.jobs.scoring import score
from raybench.config import Config
from raybench.errors import DataError
from raybench.market.bars import open_bars
from raybench.scoring import job
from raybench.scoring.refused import read_refused, refused_uri
from raybench.scoring.status import status
from raybench.scoring.table import scored_dates, write_date
from tests.cluster.scored import bytes_of, days_of, import_frame

MakeConfig = Callable[..., Config]
MakeRun = Callable[[Config], str]


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
    assert coverage == [1.0, 1.0]  # whoever has no bar counts as suspended, and has a score


@pytest.mark.parametrize("since_last", [False, True])
def test_a_date_that_a_job_left_out_among_others_is_come_back_to(
    run: str, market_bars: str, whole: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, since_last: bool
) -> None:
    """Files are written several at a time: a job that ends early may have written a date and not the one before."""
    to, days, write = str(tmp_path / "scores"), days_of(whole)[-12:], write_date
    options: dict[str, Any] = {"bars": market_bars, "to": to, "local": True}
    if since_last:
        score(run, start=days[0], end=days[0], **options)

    def fail(uri: str, day: Any, *rest: Any) -> None:
        if str(day) != days[2]:
            write(uri, day, *rest)
            return
        deadline = time.monotonic() + 60
        while days[3] not in days_of(to) and time.monotonic() < deadline:
            time.sleep(0.01)
        raise ZeroDivisionError

    monkeypatch.setattr(job, "write_date", fail)
    with pytest.raises(ZeroDivisionError):
        score(run, start=days[0], since_last=since_last, **options)
    assert days[2] not in days_of(to)
    assert days[3] in days_of(to)
    found = status(to, bars=market_bars)
    assert days[2] in map(str, found.missing)
    assert found.refused == {}
    monkeypatch.setattr(job, "write_date", write)
    score(run, since_last=True, **options)
    assert bytes_of(to) == {day: bytes_of(whole)[day] for day in days}
    assert [path.name for path in tmp_path.iterdir() if "refused" in path.name] == []


def test_a_job_that_wrote_nothing_leaves_nothing_to_come_back_to(
    run: str, market_bars: str, whole: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*given: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(job, "write_date", fail)
    with pytest.raises(ZeroDivisionError):
        score(run, start=days_of(whole)[-6:][0], bars=market_bars, to=str(tmp_path / "scores"), local=True)
    assert list(tmp_path.iterdir()) == []


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


def test_dates_that_landed_on_another_disk_are_missed(
    run: str, market_bars: str, whole: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = days_of(whole)[-1]

    def write_elsewhere(to: str, day: object, *rest: Any) -> None:
        write_date(str(tmp_path / "elsewhere") if str(day) == lost else to, str(day), *rest)

    monkeypatch.setattr("raybench.scoring.job.write_date", write_elsewhere)
    with pytest.raises(DataError, match="1 of 3 dates were written on nodes whose disk"):
        score(run, bars=market_bars, to=str(tmp_path / "s"), start=days_of(whole)[-3], local=True)
