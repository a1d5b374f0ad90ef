"""What a run was trained on is compared with what it is given to score, before and while it does."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from raybench.cli.app import run as command
from raybench.cluster.jobs.explaining import explain
from raybench.cluster.jobs.scoring import LOCAL_ROWS, few, score
from raybench.config import Config
from raybench.errors import DataError, RunError
from raybench.market.bars import open_bars
from raybench.runs.artifact import load_run
from raybench.scoring.table import read_scores
from raybench.training.needs import Needs
from tests.cluster.scored import bytes_of, days_of, import_frame

MakeConfig = Callable[..., Config]
MakeRun = Callable[[Config], str]
COLUMNS = "{type: alpha158, columns: [VWAP0, KMID, MA5]}"


@pytest.fixture(scope="module")
def rows(market_bars: str) -> pd.DataFrame:
    """The bars of the market with a vwap."""
    frame = open_bars(market_bars).block().to_frame().drop(columns="vwap", errors="ignore")
    return frame.assign(vwap=(frame["high"] + frame["low"] + frame["close"]) / 3)


@pytest.fixture(scope="module")
def vwap_bars(rows: pd.DataFrame, market_bars: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    return import_frame(rows, str(tmp_path_factory.mktemp("vwap") / "bars"), like=market_bars)


@pytest.fixture(scope="module")
def no_vwap(rows: pd.DataFrame, market_bars: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    return import_frame(rows.drop(columns="vwap"), str(tmp_path_factory.mktemp("none") / "bars"), like=market_bars)


def test_a_run_records_what_it_read(make_config: MakeConfig, make_run: MakeRun, vwap_bars: str) -> None:
    run = load_run(make_run(make_config(data__bars=vwap_bars, data__feature_set=COLUMNS)))
    needs = Needs.of_manifest(run.manifest, where=run.uri)
    assert needs is not None
    assert (needs.frequency, needs.spacing, needs.rows) == ("day", 1.0, 5 + 8 - 1)
    assert set(needs.fields) == {"open", "high", "low", "close", "volume", "vwap"}
    assert 15 < needs.universe_size <= 30
    assert Needs.of_manifest({}, where="x") is None
    with pytest.raises(RunError, match=r"^x: 'data' of manifest.json cannot be read"):
        Needs.of_manifest({"data": {"rows": "many"}}, where="x")


@pytest.mark.parametrize("features", [COLUMNS, "{type: alpha360}"])
def test_a_field_that_was_there_is_missed(
    make_config: MakeConfig, make_run: MakeRun, vwap_bars: str, no_vwap: str, tmp_path: Path, features: str
) -> None:
    length = {"data__step_len": 60} if "360" in features else {}
    run = make_run(make_config(data__bars=vwap_bars, data__feature_set=features, **length))
    with pytest.raises(DataError, match=r"has no field vwap, which .* was trained with"):
        score(run, bars=no_vwap, to=str(tmp_path / "s"), local=True)
    with pytest.raises(DataError, match=r"has no field vwap"):
        explain(run, bars=no_vwap, date="2015-09-01", out=str(tmp_path / "e"), local=True)
    assert list(tmp_path.iterdir()) == []


def test_a_field_that_was_not_there_or_is_not_read_is_not_missed(
    make_config: MakeConfig, make_run: MakeRun, vwap_bars: str, no_vwap: str, tmp_path: Path
) -> None:
    day = "2015-11-02"
    without = make_run(make_config(data__bars=no_vwap, data__feature_set=COLUMNS))
    unread = make_run(make_config(data__bars=vwap_bars))
    for name, run in (("without", without), ("unread", unread)):
        done = score(run, bars=no_vwap, to=str(tmp_path / name), start=day, end=day, local=True)
        assert (done.written, done.warnings) == ((day,), ())


@pytest.mark.parametrize(("every", "says"), [("60min", "60min"), ("week", "one date in 7 days")])
def test_another_frequency_is_refused(run: str, tmp_path: Path, every: str, says: str) -> None:
    when = (
        pd.date_range("2015-08-03", periods=120, freq="W-FRI")
        if every == "week"
        else pd.DatetimeIndex(
            [d + pd.Timedelta(hours=h) for d in pd.bdate_range("2015-08-03", periods=30) for h in (10, 11, 13, 14)]
        )
    )
    close = np.exp(np.random.default_rng(0).normal(0, 0.01, (len(when), 4)).cumsum(axis=0))
    frame = pd.concat(
        pd.DataFrame({"instrument": f"SYN000{n}", "datetime": when, "close": close[:, n]}) for n in range(1, 4)
    )
    frame = frame.assign(open=frame["close"], high=frame["close"], low=frame["close"], volume=1.0)
    bars = import_frame(frame, str(tmp_path / "bars"), like=open_bars_of(run))
    with pytest.raises(DataError, match=f"another frequency .*{says}.* that .* was trained on"):
        score(run, bars=bars, to=str(tmp_path / "s"), local=True)


def open_bars_of(run: str) -> str:
    bars = load_run(run).config.data.bars
    assert bars is not None
    return bars


@pytest.mark.parametrize("old_ones", [0, 1])
def test_too_little_history_is_said_with_the_first_date_that_has_enough(
    make_config: MakeConfig, make_run: MakeRun, rows: pd.DataFrame, market_bars: str, tmp_path: Path, old_ones: int
) -> None:
    """Rows of 12 dates are needed; one instrument with a long history does not make up for the others."""
    run = make_run(make_config(data__feature_set="{type: alpha158, columns: [KMID, MA5]}"))
    days = np.unique(rows["datetime"].to_numpy())
    old = rows["instrument"].isin(sorted(set(rows["instrument"]))[:old_ones])
    bars = import_frame(rows[old | (rows["datetime"] >= days[-14])], str(tmp_path / "bars"), like=market_bars)
    names = [str(day)[:10] for day in days[-14:]]
    done = score(run, bars=bars, to=str(tmp_path / "s"), start=names[10], local=True)
    (line,) = done.warnings
    assert line.startswith(f"{names[10]}: too little history")
    assert "reads 12 rows up to each date, most instruments have fewer" in line
    assert f"the first date with full windows is {names[11]}" in line
    assert score(run, bars=bars, to=str(tmp_path / "t"), start=names[11], local=True).warnings == ()


def test_a_universe_much_smaller_than_that_of_training_is_said(
    run: str, rows: pd.DataFrame, market_bars: str, tmp_path: Path
) -> None:
    few = rows[rows["instrument"].isin(sorted(set(rows["instrument"]))[:8])]
    bars = import_frame(few, str(tmp_path / "bars"), like=market_bars)
    done = score(run, bars=bars, to=str(tmp_path / "s"), start="2015-12-01", min_coverage=0.0, local=True)
    assert len(done.warnings) == 1
    assert "was trained on" in done.warnings[0]


LATE = ("2015-12-30", "2015-12-31")


@pytest.fixture(scope="module")
def partial(rows: pd.DataFrame, market_bars: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Bars whose last two dates have arrived for three instruments only."""
    early = rows["instrument"].isin(["SYN0001", "SYN0002", "SYN0003"])
    to = str(tmp_path_factory.mktemp("partial") / "bars")
    return import_frame(rows[early | (rows["datetime"] < LATE[0])], to, like=market_bars)


@pytest.mark.parametrize("universe", ["demo", "all"])
def test_a_delivery_that_is_not_whole_is_not_published_and_done_by_the_next_run(
    make_config: MakeConfig,
    make_run: MakeRun,
    market_bars: str,
    partial: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    universe: str,
) -> None:
    run = make_run(make_config(data__universe=universe))
    line = ["score", "--model", run, "--to", str(tmp_path / "s"), "--start", "2015-12-28", "--json", "--quiet"]
    assert command([*line, "--bars", partial]) == 3
    out, err = capsys.readouterr()
    summary = json.loads(out)
    assert (summary["low_coverage"], summary["dates_written"]) == (list(LATE), 2)
    assert re.match(rf"{LATE[0]} \([23] of \d\d instruments\), {LATE[1]} ", summary["warnings"][-1])
    assert "coverage is below --min-coverage 0.5" in err
    assert command([*line, "--bars", partial, "--since-last"]) == 3
    assert command([*line, "--bars", market_bars, "--since-last"]) == 0
    whole = str(tmp_path / "whole")
    score(run, bars=market_bars, to=whole, start="2015-12-28", local=True)
    pd.testing.assert_frame_equal(read_scores(str(tmp_path / "s")), read_scores(whole))


@pytest.fixture(scope="module")
def table(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[["instrument", "datetime"]].assign(x=rows["close"] / rows["open"], LABEL0=rows["close"] % 1)


def run_of_table(table: pd.DataFrame, make_config: MakeConfig, make_run: MakeRun, tmp_path: Path) -> str:
    table.to_parquet(tmp_path / "whole.parquet")
    return make_run(
        make_config(
            data__bars="null",
            data__features=str(tmp_path / "whole.parquet"),
            data__universe="all",
            data__feature_set="{type: table}",
            data__label="LABEL0",
        )
    )


def test_a_feature_table_tells_by_itself_what_is_usual(
    make_config: MakeConfig, make_run: MakeRun, table: pd.DataFrame, tmp_path: Path
) -> None:
    early = table["instrument"].isin(["SYN0001", "SYN0002"])
    table[early | (table["datetime"] < LATE[0])].to_parquet(tmp_path / "early.parquet")
    run = run_of_table(table, make_config, make_run, tmp_path)
    done = score(run, features=str(tmp_path / "early.parquet"), to=str(tmp_path / "s"), start="2015-12-28", local=True)
    assert done.low_coverage == LATE
    assert done.refused[LATE[1]]["scored"] == 2
    assert "coverage is below" in done.warnings[-1]
    done = score(run, features=str(tmp_path / "whole.parquet"), to=str(tmp_path / "s"), since_last=True, local=True)
    assert done.written == LATE
    assert days_of(tmp_path / "s")[-2:] == list(LATE)


@pytest.mark.parametrize("bars", [False, True])
def test_a_table_of_few_instruments_is_said(
    make_config: MakeConfig, make_run: MakeRun, table: pd.DataFrame, market_bars: str, tmp_path: Path, bars: bool
) -> None:
    """Also beside bars of many: what has no features is not scored."""
    run = run_of_table(table, make_config, make_run, tmp_path)
    table[table["instrument"].isin(["SYN0001", "SYN0002", "SYN0003"])].to_parquet(tmp_path / "few.parquet")
    given = {"bars": market_bars} if bars else {}
    options = {"start": "2015-12-28", "min_coverage": 0.0, "local": True}
    for name, lines in (("few", 1), ("whole", 0)):
        place = str(tmp_path / f"{name}.parquet")
        done = score(run, features=place, to=str(tmp_path / f"s-{name}"), **given, **options)  # type: ignore[arg-type]
        assert len([line for line in done.warnings if "instruments on a date" in line]) == lines, done.warnings


def test_another_frequency_of_a_table_is_told_of_the_table(
    make_config: MakeConfig, make_run: MakeRun, table: pd.DataFrame, tmp_path: Path
) -> None:
    run = run_of_table(table, make_config, make_run, tmp_path)
    table[table["datetime"].dt.day_of_week == 4].to_parquet(tmp_path / "weekly.parquet")
    with pytest.raises(DataError, match="give features of that frequency"):
        score(run, features=str(tmp_path / "weekly.parquet"), to=str(tmp_path / "s"), local=True)


def test_a_column_of_text_is_not_called_missing(
    make_config: MakeConfig, make_run: MakeRun, table: pd.DataFrame, tmp_path: Path
) -> None:
    run = run_of_table(table, make_config, make_run, tmp_path)
    name = load_run(run).processors.columns[0]
    table.assign(**{name: table[name].astype(str)}, more=1.0).to_parquet(tmp_path / "text.parquet")
    with pytest.raises(DataError, match=rf"column {name}, which .* was trained on, holds no numbers"):
        score(run, features=str(tmp_path / "text.parquet"), to=str(tmp_path / "s"), local=True)


def test_a_date_without_anybody_is_refused_like_one_with_few(
    make_config: MakeConfig, make_run: MakeRun, rows: pd.DataFrame, market_bars: str, tmp_path: Path
) -> None:
    """Nothing has arrived for any member; the calendar has the date from others."""
    run = make_run(make_config(data__universe="late"))
    members = rows["instrument"].isin(["SYN0001", "SYN0002", "SYN0003"])
    bars = import_frame(rows[~members | (rows["datetime"] < LATE[1])], str(tmp_path / "bars"), like=market_bars)
    done = score(run, bars=bars, to=str(tmp_path / "s"), start=LATE[0], local=True)
    assert (done.written, done.low_coverage, done.empty) == ((LATE[0],), (LATE[1],), ())


@pytest.mark.parametrize(
    ("features", "on_ray"),
    [
        (COLUMNS, False),
        ("{type: alpha360}", False),
        pytest.param(COLUMNS, True, marks=[pytest.mark.ray, pytest.mark.slow]),
    ],
)
def test_a_field_that_is_there_and_empty_is_missed(
    make_config: MakeConfig,
    make_run: MakeRun,
    vwap_bars: str,
    rows: pd.DataFrame,
    market_bars: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    features: str,
    on_ray: bool,
) -> None:
    length = {"data__step_len": 60} if "360" in features else {}
    run = make_run(make_config(data__bars=vwap_bars, data__feature_set=features, **length))
    late = rows["datetime"] == LATE[1]
    empty = rows.assign(vwap=rows["vwap"].mask(late & (rows["instrument"] > "SYN0003")))
    bars = import_frame(empty, str(tmp_path / "bars"), like=market_bars)
    line = ["score", "--model", run, "--to", str(tmp_path / "s"), "--start", LATE[0], "--json", "--quiet"]
    line.append("--ray" if on_ray else "--local")
    assert command([*line, "--bars", bars]) == 3
    out, err = capsys.readouterr()
    assert (json.loads(out)["low_coverage"], days_of(tmp_path / "s")) == ([LATE[1]], [LATE[0]])
    assert re.search(rf"{LATE[1]} \(vwap in [23] of \d\d rows\): coverage is below --min-coverage 0.5", err)
    assert command([*line, "--bars", vwap_bars, "--since-last"]) == 0
    done = score(run, bars=bars, to=str(tmp_path / "t"), start=LATE[1], min_coverage=0.0, local=True)
    assert done.written == (LATE[1],)
    assert re.match(rf"{LATE[1]} \(vwap in .*: scored with less than usual", done.warnings[-1])
    explained = explain(run, bars=bars, date=LATE[1], out=str(tmp_path / "e"), local=True)
    assert any("vwap in" in line for line in explained.warnings)


def test_a_field_that_was_empty_at_training_or_is_not_read_may_be_empty(
    make_config: MakeConfig, make_run: MakeRun, vwap_bars: str, rows: pd.DataFrame, market_bars: str, tmp_path: Path
) -> None:
    rows = rows.assign(vwap=rows["vwap"].mask(rows["datetime"] < LATE[0]))
    before = import_frame(rows, str(tmp_path / "before"), like=market_bars)
    rows = rows.assign(vwap=rows["vwap"].mask(rows["datetime"] == LATE[1]))
    bars = import_frame(rows, str(tmp_path / "bars"), like=market_bars)
    without = make_run(make_config(data__bars=before, data__feature_set=COLUMNS))
    unread = make_run(make_config(data__bars=vwap_bars))
    for name, run in (("without", without), ("unread", unread)):
        done = score(run, bars=bars, to=str(tmp_path / name), start=LATE[1], local=True)
        assert (done.written, done.warnings) == ((LATE[1],), ())


@pytest.mark.parametrize("lacks", [["x"], ["x", "w"]])
def test_a_column_that_is_there_and_empty_is_missed(
    make_config: MakeConfig, make_run: MakeRun, rows: pd.DataFrame, tmp_path: Path, lacks: list[str]
) -> None:
    table = rows[["instrument", "datetime"]].assign(
        x=rows["close"] / rows["open"], w=rows["high"] / rows["low"], LABEL0=rows["close"] % 1
    )
    table["rare"] = table["x"].where(table["instrument"] == "SYN0001")
    table.to_parquet(tmp_path / "whole.parquet")
    late = table["datetime"] == LATE[1]
    table.assign(**{n: table[n].mask(late) for n in (*lacks, "rare")}).to_parquet(tmp_path / "empty.parquet")
    config = make_config(
        data__bars="null", data__features=str(tmp_path / "whole.parquet"), data__universe="all",
        data__feature_set="{type: table}", data__label="LABEL0",
    )  # fmt: skip
    run = make_run(config)
    done = score(run, features=str(tmp_path / "empty.parquet"), to=str(tmp_path / "s"), start=LATE[0], local=True)
    assert (done.written, done.low_coverage) == ((LATE[0],), (LATE[1],))
    assert re.fullmatch(rf"{', '.join(lacks)} in 0 of \d\d rows", done.refused[LATE[1]]["why"])


def test_a_day_of_hours_that_has_only_begun_waits_for_the_rest(
    make_config: MakeConfig, make_run: MakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = hourly()
    end = frame["datetime"].max()
    whole = import_frame(frame, str(tmp_path / "bars"))
    begun = import_frame(frame[frame["datetime"] <= end - pd.Timedelta(hours=4)], str(tmp_path / "begun"))
    run = make_run(make_config(data__bars=whole, data__universe="all"))
    last, before = str(end)[:10], str(frame["datetime"].iloc[-5])[:10]
    line = ["score", "--model", run, "--to", str(tmp_path / "s"), "--start", before, "--json", "--quiet"]
    assert command([*line, "--bars", begun]) == 3
    out, err = capsys.readouterr()
    assert (json.loads(out)["low_coverage"], days_of(tmp_path / "s")) == ([last], [before])
    assert f"{last} (1 of the usual 4 moments): coverage is below" in err
    assert command([*line, "--bars", whole, "--since-last"]) == 0
    assert len(read_scores(str(tmp_path / "s"), last, last)["datetime"].unique()) == 4
    done = score(run, bars=begun, to=str(tmp_path / "t"), start=last, min_coverage=0.0, local=True)
    assert done.written == (last,)
    assert done.warnings[-1].startswith(f"{last} (1 of the usual 4 moments): scored with less than usual")


def hourly() -> pd.DataFrame:
    """Bars of four hours a day, over the dates of the configuration."""
    when = [d + pd.Timedelta(hours=h) for d in pd.bdate_range("2015-02-02", "2015-09-30") for h in (10, 11, 13, 14)]
    close = np.exp(np.random.default_rng(0).normal(0, 0.01, (len(when), 3)).cumsum(axis=0))
    parts = [pd.DataFrame({"instrument": f"H{n}", "datetime": when, "close": close[:, n]}) for n in range(3)]
    frame = pd.concat(parts, ignore_index=True)
    spread = np.random.default_rng(1).uniform(0.99, 1.01, (4, len(frame)))
    prices = {name: frame["close"] * spread[i] for i, name in enumerate(("open", "high", "low"))}
    return frame.assign(**prices, volume=spread[3])


@pytest.mark.parametrize(
    ("days", "a_day", "address", "here"),
    [(1, 300, None, True), (1, 300, "", True), (1, 300, "ray://head:10001", False), (LOCAL_ROWS, 2, None, False)],
)
def test_few_dates_are_scored_here_unless_a_cluster_is_named(
    monkeypatch: pytest.MonkeyPatch, days: int, a_day: int, address: str | None, here: bool
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.delitem(sys.modules, "ray", raising=False)  # other tests of this process have joined one
    if address is not None:
        monkeypatch.setenv("RAY_ADDRESS", address)
    assert few(days=days, a_day=a_day, runs=1) is here


def test_one_date_from_the_command_line_needs_no_ray(run: str, market_bars: str, tmp_path: Path) -> None:
    """In a process of its own, from another folder, with relative paths; Ray cannot even be imported."""
    (tmp_path / "ray.py").write_text("raise ImportError('not here')")
    folders = [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(folders)}
    environment.pop("RAY_ADDRESS", None)
    given = {name: os.path.relpath(path, tmp_path) for name, path in (("--model", run), ("--bars", market_bars))}
    line = [part for pair in given.items() for part in pair]
    line = [sys.executable, "-m", "raybench", "score", *line, "--to", "scores", "--start", LATE[1], "--json"]
    done = subprocess.run(line, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["dates_written"] == 1
    score(run, bars=market_bars, to=str(tmp_path / "here"), start=LATE[1], local=True)
    assert bytes_of(tmp_path / "scores") == bytes_of(tmp_path / "here")
