"""Mornings after which dates that are there were made from other rows: just these are told of, or done again."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from raybench.cli.app import run as command
from raybench.cluster.jobs.daily import daily
from raybench.cluster.jobs.scoring import score
from raybench.config import Config
from raybench.config.daily import DailyConfig
from raybench.market.bars import BarBlock, Bars, open_bars
from raybench.market.importing.append import append_bars
from raybench.market.importing.job import import_bars
from raybench.market.sources import memory_source
from raybench.market.synthetic import UNIVERSE
from raybench.market.universe import universe_of_frame
from raybench.scoring import table
from raybench.scoring.audit import last_job
from raybench.scoring.looked import read_looked
from raybench.scoring.status import status
from raybench.storage.claims import held
from tests.cluster.jobs.desk import Desk, long_rows, tiny
from tests.cluster.scored import bytes_of, days_of
from tests.small import import_rows

MakeConfig = Callable[..., Config]
MakeRun = Callable[[Config], str]


def of(rows: pd.DataFrame, name: str) -> pd.Series:
    return rows["instrument"] == name


def member(rows: pd.DataFrame, spans: pd.DataFrame, day: str) -> str:
    """One that trades on a day, and is a member from early on to the end."""
    long = spans[(spans["start"] <= "2015-01-01") & (spans["end"] >= "2015-12-31")]["instrument"]
    there = rows[rows["datetime"] == day]["instrument"]
    return str(sorted(set(long) & set(there))[1])


def test_members_whose_rows_are_late(desk: Desk, rows: pd.DataFrame, spans: pd.DataFrame, days: list[str]) -> None:
    """Two thirds of them at 18:00, which is enough to publish the date, the others five minutes later."""
    late = (rows["datetime"] == days[-1]) & (rows["instrument"] > "SYN0019")
    desk.deliver(rows[~late], spans)
    first = desk.morning()
    assert (first.newest, first.up_to_date, first.stale) == (days[-1], True, ())
    assert first.imported is not None
    assert (first.imported.rows > len(rows) / 2, first.imported.dates) == (True, len(days))
    desk.deliver(rows, spans)
    assert desk.found_and_redone() == [days[-1]]
    assert bytes_of(desk.folder / "scores") == desk.expected(rows, spans)
    job = last_job(str(desk.folder / "scores"))
    assert job is not None
    assert job["inputs"] == {
        "models": [desk.run],
        "bars": str(desk.folder / "bars"),
        "bars_fingerprint": open_bars(str(desk.folder / "bars")).fingerprint,
        "source": str(desk.folder / "rows.parquet"),
    }


def test_a_span_that_is_closed_afterwards(desk: Desk, rows: pd.DataFrame, spans: pd.DataFrame, days: list[str]) -> None:
    name = member(rows, spans, days[-1])
    desk.deliver(rows, spans)
    desk.morning()
    closed = spans.copy()
    closed.loc[of(closed, name) & (closed["end"] >= "2015-12-31"), "end"] = pd.Timestamp(days[-6])
    desk.deliver(rows, closed)
    assert desk.found_and_redone() == days[-5:]
    assert bytes_of(desk.folder / "scores") == desk.expected(rows, closed)


def test_a_new_instrument_with_a_history(desk: Desk, rows: pd.DataFrame, spans: pd.DataFrame, days: list[str]) -> None:
    name = member(rows, spans, days[-1])
    there = ~of(rows, name) & (rows["datetime"] < days[-1])
    desk.deliver(rows[there], spans)
    desk.morning()
    late = rows[~of(rows, name) | (rows["datetime"] >= days[-30])]
    desk.deliver(late, spans)
    assert desk.found_and_redone() == days[-30:-1]
    assert bytes_of(desk.folder / "scores") == desk.expected(late, spans)


def test_a_member_that_trades_again_after_a_long_pause(
    desk: Desk, rows: pd.DataFrame, spans: pd.DataFrame, days: list[str]
) -> None:
    name = member(rows, spans, days[-1])
    paused = rows[~(of(rows, name) & (rows["datetime"] >= days[-20]) & (rows["datetime"] < days[-1]))]
    desk.deliver(paused[paused["datetime"] < days[-1]], spans)
    desk.morning()
    desk.deliver(paused, spans)
    assert desk.found_and_redone() == days[-12:-1], "rows of NaN follow its last one on eight dates"
    assert bytes_of(desk.folder / "scores") == desk.expected(paused, spans)


def test_one_bar_that_is_corrected_is_looked_for_no_further_than_it_is_read(
    desk: Desk, rows: pd.DataFrame, spans: pd.DataFrame, days: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the import of the morning itself, which knows where."""
    desk.start = "2015-03-02"
    desk.deliver(rows, spans)
    desk.morning()
    looked = read_looked(str(desk.folder / "scores"))
    assert looked is not None
    scored = days_of(desk.folder / "scores")
    when = scored[30]
    name = member(rows, spans, when)
    other = rows.copy()
    other.loc[of(rows, name) & (rows["datetime"] == when), "close"] *= 1.001
    desk.deliver(other, spans)
    opened = counting(monkeypatch)
    told = desk.morning()
    assert opened["footers"] == looked.reach + 1 < len(scored) - 30
    found = status(str(desk.folder / "scores"), bars=str(desk.folder / "bars")).stale
    assert found is not None
    assert list(told.stale) == [str(day) for day in found.dates]
    assert (told.stale[0], told.changed) == (when, {name: when})


def counting(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How many footers are read from now on, how many rows of bars, how often the table is listed."""
    seen = {"footers": 0, "rows": 0, "listings": 0}
    facts_in, block, dates = table._facts_in, Bars.block, table.dates

    def footer(*given: Any) -> Any:
        seen["footers"] += 1
        return facts_in(*given)

    def noted(self: Bars, *given: Any, **options: Any) -> Any:
        read = block(self, *given, **options)
        seen["rows"] += read.rows
        return read

    def listed(*given: Any) -> Any:
        seen["listings"] += 1
        return dates(*given)

    monkeypatch.setattr(table, "_facts_in", footer)
    monkeypatch.setattr(Bars, "block", noted)
    for module in ("table", "work", "looked", "status"):
        monkeypatch.setattr(f"raybench.scoring.{module}.dates", listed)
    return seen


def test_what_somebody_else_appends_costs_no_more_where_the_table_is_longer(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No ``import``: 300 dates and 3,000, of which each morning opens the same few."""
    config = tiny(import_rows(long_rows(400), tmp_path / "trained"))
    run, seen = make_run(config), {}
    for many in (300, 3_000):
        folder = tmp_path / str(many)
        rows = long_rows(many + 30)
        days = sorted(rows["datetime"].dt.strftime("%Y-%m-%d").unique())
        bars = import_rows(rows[rows["datetime"] < days[-2]], folder / "bars")
        given = {"model": run, "to": str(folder / "scores"), "start": days[-4], "local": True}
        config = DailyConfig.model_validate({"bars": bars, "score": given})
        daily(config)
        newest = (folder / "scores" / f"date={days[-3]}" / "scores.parquet").read_bytes()
        for day in days[-many - 4 : -4]:
            (folder / "scores" / f"date={day}").mkdir()
            (folder / "scores" / f"date={day}" / "scores.parquet").write_bytes(newest)
        mornings = []
        for day in days[-2:]:
            append_bars(memory_source(BarBlock.from_frame(rows[rows["datetime"] == day])), bars)
            with monkeypatch.context() as patched:
                opened = counting(patched)
                told = daily(config)
            assert (told.newest, told.stale) == (day, ())
            mornings.append(opened)
        seen[many] = mornings
    assert seen[300] == seen[3_000]
    assert all(one["listings"] == 0 and one["footers"] <= 3 for one in seen[300])


def test_moments_of_a_day_that_come_after_it_was_published(make_run: MakeRun, tmp_path: Path) -> None:
    """The date is published with the moments that are there, and done again when all are."""
    daily_rows = long_rows(130)
    parts = [
        daily_rows.assign(datetime=daily_rows["datetime"] + pd.Timedelta(hours=hour), close=daily_rows["close"] * step)
        for hour, step in ((10, 0.998), (11, 1.001), (14, 1.004), (15, 0.997))
    ]
    rows = pd.concat(parts).sort_values(["instrument", "datetime"], ignore_index=True)
    days = sorted(rows["datetime"].dt.strftime("%Y-%m-%d").unique())
    segments = {
        "train": ["2020-01-10", "2020-03-31"],
        "valid": ["2020-04-01", "2020-04-30"],
        "test": ["2020-05-01", days[-1]],
    }
    run = make_run(tiny(import_rows(rows, tmp_path / "trained"), segments=segments))
    desk = Desk(tmp_path, run, start=days[-10])
    desk.deliver(rows[rows["datetime"] < f"{days[-1]} 12:00"])
    assert desk.morning().newest == days[-1]
    desk.deliver(rows)
    assert desk.found_and_redone() == [days[-1]]
    assert bytes_of(tmp_path / "scores") == desk.expected(rows)
    live = pd.read_parquet(tmp_path / "scores" / f"date={days[-1]}" / "scores.parquet", partitioning=None)
    assert live["datetime"].nunique() == 4


def test_a_look_that_was_not_finished_is_made_up_for(
    desk: Desk, rows: pd.DataFrame, spans: pd.DataFrame, days: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that ends between the import and the look: what it had restated is found by what is remembered."""
    desk.deliver(rows, spans)
    desk.morning()
    name = member(rows, spans, days[-5])
    other = rows.copy()
    other.loc[of(rows, name) & (rows["datetime"] == days[-5]), "close"] *= 1.001
    desk.deliver(other, spans)
    with monkeypatch.context() as patched:
        patched.setattr("raybench.cluster.jobs.scoring.score", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            desk.morning()
    assert desk.found_and_redone() == days[-5:]
    assert bytes_of(desk.folder / "scores") == desk.expected(other, spans)


def test_two_tables_of_one_dataset_at_once(
    run: str,
    make_run: MakeRun,
    make_config: MakeConfig,
    rows: pd.DataFrame,
    spans: pd.DataFrame,
    days: list[str],
    tmp_path: Path,
) -> None:
    """Who finds the bars taken, by the other morning or an import by hand, waits, and then scores."""
    desks = [Desk(tmp_path, run, start=days[-3]), Desk(tmp_path, make_run(make_config(train__seed=5)), start=days[-3])]
    desks[0].deliver(rows, spans)
    desks[1].universe = desks[0].universe
    started = []
    with held(str(tmp_path / "bars"), what="import"):
        for n, desk in enumerate(desks):
            config = desk.config(to=str(tmp_path / f"scores-{n}")).model_dump_json(by_alias=True)
            (tmp_path / f"{n}.yaml").write_text(config)
            line = [sys.executable, "-m", "raybench", "daily", f"{n}.yaml", "--json"]
            started.append(
                subprocess.Popen(line, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            )
        for process in started:
            assert process.stderr is not None
            assert any("waiting" in text and "raybench import" in text for text in process.stderr)
            assert process.poll() is None
    for n, process in enumerate(started):
        _, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        assert days_of(tmp_path / f"scores-{n}") == days[-3:]


def test_dates_before_the_first_look_are_looked_at_once(
    desk: Desk, run: str, rows: pd.DataFrame, spans: pd.DataFrame, days: list[str]
) -> None:
    """A table that ``score`` made from bars that are others by now."""
    desk.deliver(rows, spans)
    universes = {UNIVERSE: universe_of_frame(UNIVERSE, spans)}
    other = rows.copy()
    name = member(rows, spans, days[-2])
    other.loc[of(rows, name) & (rows["datetime"] == days[-2]), "close"] *= 1.001
    bars = import_bars(memory_source(BarBlock.from_frame(other)), desk.folder / "others", universes=universes)
    score(run, bars=bars.uri, to=str(desk.folder / "scores"), start=days[-9], end=days[-2], local=True)
    told = desk.morning()
    assert told.stale == (days[-2],)
    looked = read_looked(str(desk.folder / "scores"))
    assert looked is not None
    assert looked.stale == (date.fromisoformat(days[-2]),)


def test_the_command_names_the_dates_with_whose_history_made_them_stale(
    desk: Desk, rows: pd.DataFrame, spans: pd.DataFrame, days: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    desk.start = days[-4]
    desk.deliver(rows, spans)
    desk.morning()
    name = member(rows, spans, days[-3])
    other = rows.copy()
    other.loc[of(rows, name) & (rows["datetime"] == days[-3]), "close"] *= 1.001
    desk.deliver(other, spans)
    file = desk.folder / "daily.yaml"
    file.write_text(desk.config().model_dump_json(by_alias=True))
    assert command(["daily", str(file)]) == 0
    told = capsys.readouterr()
    assert f"restated: {name} from {days[-3]}" in told.out
    span, who = f"{days[-3]} to {days[-1]}", f"({name} since {days[-3]})"
    assert f"3 dates, {span}, were made from bars that are others now {who}" in told.err
    assert command(["daily", str(file), "score.redo_stale=true"]) == 0
    assert f"scored 3 stale dates again, {span} {who}" in capsys.readouterr().out
