"""An import takes nothing away unless that is meant, and has the folder for itself while it writes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from raybench.cli.app import run
from raybench.errors import DataError
from raybench.market.bars import BarBlock, open_bars
from raybench.market.importing.job import ImportResult, import_bars
from raybench.market.importing.target import Target
from raybench.market.sources import memory_source
from raybench.market.universe import universe_of_frame
from raybench.storage import claims, files

DAYS = pd.bdate_range("2020-01-06", periods=20)
REPO = Path(__file__).parents[3]


def market(instruments: int = 4, days: Any = DAYS, first: int = 0, **fields: float) -> pd.DataFrame:
    names = [f"I{i}" for i in range(first, first + instruments)]
    frame = pd.DataFrame([(n, d) for n in names for d in days], columns=["instrument", "datetime"])
    values = {"open": 2.0, "high": 3.0, "low": 1.0, "close": 2.0, "volume": 5.0, **fields}
    return frame.assign(**values)


def put(frame: pd.DataFrame, to: Path, *, pools: int = 0, replace: bool = False, members: int = 2) -> ImportResult:
    spans = pd.DataFrame({"instrument": [f"I{i}" for i in range(members)], "start": "2020-01-01", "end": None})
    universes = {f"pool{i}": universe_of_frame(f"pool{i}", spans) for i in range(pools)}
    return import_bars(memory_source(BarBlock.from_frame(frame)), to, universes=universes, replace=replace)


def snapshot(to: Path) -> dict[str, bytes]:
    return {str(path.relative_to(to.parent)): path.read_bytes() for path in to.parent.rglob("*") if path.is_file()}


FULL = market(vwap=2.0)
LESS = {
    "one day": (
        FULL[FULL["datetime"] == DAYS[-1]],
        {},
        r"dates 20 -> 1, rows 80 -> 4 \(without 19 dates of it: 2020-01-06,",
    ),
    "some instruments": (market(3, vwap=2.0), {}, r"instruments 4 -> 3, .*without 1 instrument of it: I3;"),
    "others": (
        market(4, first=4, vwap=2.0),
        {"members": 6},
        r"instruments 4 -> 4, .*without 4 instruments of it: I0, I1, I2, ...",
    ),
    "later years": (FULL.assign(datetime=FULL["datetime"] + pd.Timedelta("14D")), {}, "without 10 dates of it"),
    "shorter rows": (FULL[(FULL["instrument"] == "I0") | (FULL["datetime"] > DAYS[3])], {}, "12 rows fewer"),
    "a field": (market(), {}, r"without 1 field of it: vwap"),
    "a universe": (FULL, {"pools": 1}, r"without 1 universe of it: pool1"),
    "members": (FULL, {"members": 1}, r"universe pool0 had 2 instruments, would have 1"),
    "hours": (
        market(4, [day + pd.Timedelta(hours=h) for day in DAYS for h in (0, 1)], vwap=2.0),
        {},
        "frequency was day",
    ),
}


@pytest.mark.parametrize("what", LESS)
def test_less_than_before_is_refused_unless_it_is_meant(tmp_path: Path, what: str) -> None:
    put(FULL, tmp_path / "bars", pools=2)
    before = snapshot(tmp_path / "bars")
    frame, options, says = LESS[what]
    with pytest.raises(DataError, match=f"bars: an import replaces the whole dataset.*{says}.*--replace") as caught:
        put(frame, tmp_path / "bars", **{"pools": 2, **options})
    assert "\n" not in str(caught.value)
    assert snapshot(tmp_path / "bars") == before
    assert put(frame, tmp_path / "bars", **{"pools": 2, **options}, replace=True).changed


def test_the_same_and_more_are_taken(tmp_path: Path) -> None:
    put(FULL, tmp_path / "bars")
    assert not put(FULL, tmp_path / "bars").changed
    assert put(FULL.assign(close=2.5), tmp_path / "bars").changed
    more = market(5, pd.bdate_range(DAYS[0], periods=21), vwap=2.0, more=1.0)
    assert put(more, tmp_path / "bars", pools=1).warnings == ()


def test_an_instrument_that_lost_rows_is_named(tmp_path: Path) -> None:
    put(FULL, tmp_path / "bars")
    grown = market(5, vwap=2.0)
    cut = grown[(grown["instrument"] != "I0") | (grown["datetime"] > DAYS[9])]
    assert put(cut, tmp_path / "bars").warnings == (
        "1 instrument has fewer bars than in the dataset before: I0 20 -> 10",
    )


PRICES = ["open", "high", "low", "close"]
OLD, SOME = FULL["datetime"] < DAYS[-1], FULL["instrument"] != "I0"
EMPTIED = {
    "the history": (
        OLD,
        [*PRICES, "volume", "vwap"],
        r"dates 20 -> 1, rows 80 -> 4 \(without 19 dates of it: 2020-01-0",
    ),
    "most instruments": (
        SOME,
        PRICES,
        "bars 80 -> 20, open 80 -> 20, .*3 instruments lose most of their bars: I1 20 -> 0",
    ),
    "one of many": (FULL["instrument"] == "I2", PRICES, "1 instrument loses most of their bars: I2 20 -> 0"),
    "a field": (
        OLD,
        ["vwap"],
        "bars 80 -> 80, vwap 80 -> 4 .*4 instruments lose most of their values of vwap: I0 20 -> 1",
    ),
    "a few values": (FULL.index == 3, ["volume"], "volume 80 -> 79 .*has fewer values of volume than .* I0 20 -> 19"),
}


@pytest.mark.parametrize("what", EMPTIED)
def test_bars_that_are_emptied_are_lost_though_their_rows_are_there(tmp_path: Path, what: str) -> None:
    from raybench.market.sources import open_source

    put(FULL, tmp_path / "bars")
    before = snapshot(tmp_path / "bars")
    rows, columns, says = EMPTIED[what]
    FULL.assign(**{c: FULL[c].mask(rows) for c in columns}).to_csv(tmp_path / "less.csv", index=False)
    with pytest.raises(DataError, match=f"would leave less than is there: .*{says}.*--replace"):
        import_bars(open_source(tmp_path / "less.csv"), tmp_path / "bars")
    (tmp_path / "less.csv").rename(tmp_path.parent / "less.csv")
    assert snapshot(tmp_path / "bars") == before
    assert import_bars(open_source(tmp_path.parent / "less.csv"), tmp_path / "bars", replace=True).changed


def test_new_dates_do_not_hide_an_instrument_that_is_emptied(tmp_path: Path) -> None:
    put(FULL, tmp_path / "bars")
    more = market(4, pd.bdate_range(DAYS[0], periods=40), vwap=2.0)
    emptied = more.assign(close=more["close"].mask((more["instrument"] == "I3") & (more["datetime"] != DAYS[3])))
    with pytest.raises(
        DataError, match=r"bars 80 -> 160 \(1 instrument loses most of their values of close: I3 20 -> 1"
    ):
        put(emptied, tmp_path / "bars")


def test_a_stray_date_that_was_in_the_dataset_may_go(tmp_path: Path) -> None:
    from raybench.market.census import DateRules
    from raybench.market.sources import open_source

    stray = market(1).iloc[[0]].assign(datetime=pd.Timestamp("2020-01-18"))
    pd.concat([market(8), stray]).to_parquet(tmp_path / "bars.parquet")
    source = open_source(tmp_path / "bars.parquet")
    assert import_bars(source, tmp_path / "bars", rules=DateRules(min_coverage=0.0)).metadata.dates == 21
    assert import_bars(source, tmp_path / "bars").metadata.dates == 20


@pytest.mark.parametrize("damage", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"kind": "raybench bars", "files": 3}'])
def test_a_damaged_dataset_is_replaced_when_told_to(tmp_path: Path, damage: bytes) -> None:
    put(FULL, tmp_path / "bars")
    (tmp_path / "bars" / "metadata.json").write_bytes(damage)
    with pytest.raises(DataError, match=r"metadata.json: (is damaged|is not the metadata|has schema)"):
        put(FULL, tmp_path / "bars")
    put(FULL, tmp_path / "bars", replace=True)
    assert open_bars(tmp_path / "bars").instruments == ("I0", "I1", "I2", "I3")


def test_the_command_says_it_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    FULL.to_csv("full.csv", index=False)
    FULL[FULL["datetime"] == DAYS[-1]].to_csv("today.csv", index=False)
    assert run(["import", "full.csv", "--to", "bars"]) == 0
    assert run(["import", "full.csv", "--to", "bars"]) == 0
    capsys.readouterr()
    assert run(["import", "today.csv", "--to", "bars", "--quiet"]) == 2
    printed = capsys.readouterr()
    assert len(printed.err.splitlines()) == 1
    assert "instruments 4 -> 4, dates 20 -> 1, rows 80 -> 4" in printed.err
    assert run(["import", "today.csv", "--to", "bars", "--replace", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["dates"] == 1


def test_a_dataset_that_is_being_written_is_left_alone(tmp_path: Path) -> None:
    put(FULL, tmp_path / "bars")
    before = snapshot(tmp_path / "bars")
    with (
        claims.held(tmp_path / "bars", what="import"),
        pytest.raises(DataError, match="is being written by `raybench import`"),
    ):
        put(market(9), tmp_path / "bars")
    assert snapshot(tmp_path / "bars") == before


def test_files_that_another_import_took_away_are_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a file system without locks: the metadata that names them is not put in place."""
    put(FULL, tmp_path / "bars")
    old = open_bars(tmp_path / "bars").metadata
    publish = Target.publish_metadata

    def meanwhile(target: Any, metadata: Any) -> None:
        target.clear(old)  # as the other one does when it ends
        publish(target, metadata)

    monkeypatch.setattr(Target, "publish_metadata", meanwhile)
    with pytest.raises(DataError, match=r"another import took bars/part-.* away while this one wrote; import again"):
        put(FULL.assign(close=2.5), tmp_path / "bars")
    assert np.all(open_bars(tmp_path / "bars").block().fields["close"] == 2.0)


@pytest.mark.parametrize("read", ["block", "calendar", "universe"])
def test_a_reader_whose_files_an_import_took_is_told(tmp_path: Path, read: str) -> None:
    put(FULL, tmp_path / "bars")
    reader = open_bars(tmp_path / "bars")
    days = pd.bdate_range(DAYS[0], periods=21)
    put(market(5, days, close=2.5, vwap=1.0), tmp_path / "bars")
    asked = {"block": reader.block, "calendar": lambda: reader.calendar, "universe": lambda: reader.universe("all")}
    with pytest.raises(DataError, match="bars: an import changed the bars while they were read; run again"):
        asked[read]()


def test_a_reader_whose_files_are_still_there_goes_on(tmp_path: Path) -> None:
    put(FULL, tmp_path / "bars")
    reader = open_bars(tmp_path / "bars")
    put(FULL, tmp_path / "bars", pools=1)
    assert reader.block().rows == 80


def test_a_file_that_is_lost_is_not_called_a_change(tmp_path: Path) -> None:
    put(FULL, tmp_path / "bars")
    reader = open_bars(tmp_path / "bars")
    files.remove(tmp_path / "bars" / reader.files[0].name)
    with pytest.raises(DataError, match="no such file"):
        reader.block()


def test_an_interrupt_takes_back_what_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(FULL, tmp_path / "bars")
    before = snapshot(tmp_path / "bars")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Target, "publish_metadata", interrupt)
    with pytest.raises(KeyboardInterrupt):
        put(FULL.assign(close=2.5), tmp_path / "bars")
    assert snapshot(tmp_path / "bars") == before


SLOWED = """
import os, sys, time
from raybench.storage import files
from raybench.cli.app import run
publish = files.publish_bytes
def slow(uri, data, **options):
    publish(uri, data, **options)
    os.write(1, b"published\\n")
    while not os.path.exists(sys.argv[1]):
        time.sleep(0.05)
files.publish_bytes = slow
sys.exit(run(sys.argv[2:]))
"""


class Importers:
    """Imports as processes of their own; one that is held waits after the first file that it has published."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started: list[subprocess.Popen[str]] = []
        for name, close in (("a", 1.5), ("b", 2.5)):
            market(close=close).to_csv(folder / f"{name}.csv", index=False)

    def start(self, name: str, *, held: bool = False) -> subprocess.Popen[str]:
        command = [
            sys.executable,
            "-c",
            SLOWED,
            "go" if held else "/",
            "import",
            f"{name}.csv",
            "--to",
            "bars",
            "--quiet",
        ]
        environment = {**os.environ, "PYTHONPATH": str(REPO), "TMPDIR": str(self.folder / "tmp")}
        (self.folder / "tmp").mkdir(exist_ok=True)
        process = subprocess.Popen(
            command, cwd=self.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.started.append(process)
        return process

    def close(self) -> float:
        return float(open_bars(self.folder / "bars").block().fields["close"][0])


@pytest.fixture
def importers(tmp_path: Path) -> Iterator[Importers]:
    running = Importers(tmp_path)
    yield running
    for process in running.started:
        process.kill()
        process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("order", ["ab", "ba"])
def test_of_two_imports_at_once_one_is_done_and_one_is_refused(importers: Importers, order: str) -> None:
    first = importers.start(order[0], held=True)
    assert first.stdout is not None
    first.stdout.readline()
    second = importers.start(order[1])
    _, told = second.communicate(timeout=60)
    assert (second.returncode, len(told.splitlines())) == (2, 1)
    assert f"is being written by `raybench import` (process {first.pid} on" in told
    (importers.folder / "go").touch()
    assert first.wait(timeout=60) == 0
    assert importers.close() == {"a": 1.5, "b": 2.5}[order[0]]
    assert sorted(os.listdir(importers.folder / "bars")) == ["bars", "calendar", "metadata.json", "universe"]


@pytest.mark.slow
def test_what_a_killed_import_left_goes_with_the_next(importers: Importers) -> None:
    assert importers.start("a").wait(timeout=60) == 0
    killed = importers.start("b", held=True)
    assert killed.stdout is not None
    killed.stdout.readline()
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert ".staging" in os.listdir(importers.folder / "bars")
    assert os.listdir(importers.folder / "tmp") != []
    assert importers.close() == 1.5
    assert importers.start("b").wait(timeout=60) == 0
    assert importers.close() == 2.5
    assert sorted(os.listdir(importers.folder / "bars")) == ["bars", "calendar", "metadata.json", "universe"]
    assert os.listdir(importers.folder / "tmp") == []
    assert sorted(os.listdir(importers.folder)) == ["a.csv", "b.csv", "bars", "tmp"]
