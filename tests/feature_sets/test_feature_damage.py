"""A feature table that is damaged or half gone: the same command again makes it what it was, and nothing else goes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from raybench.cluster.jobs.features import write_features
from raybench.errors import DataError
from raybench.feature_sets.build import build_features, plan_features
from raybench.feature_sets.table import FeatureTable, open_features
from raybench.market.bars import Bars, open_bars
from raybench.market.importing.job import import_bars
from raybench.market.sources import memory_source
from raybench.storage import files
from raybench.storage.claims import held
from tests.market.small_market import market


@pytest.fixture(scope="module")
def bars(tmp_path_factory: pytest.TempPathFactory) -> Bars:
    folder = tmp_path_factory.mktemp("damage")
    import_bars(memory_source(market()), folder / "bars")
    return open_bars(folder / "bars")


@pytest.fixture(autouse=True)
def _one_instrument_per_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raybench.feature_sets.build.PART_BYTES", 1)


def again(bars: Bars, to: Path, end: str | None = None) -> FeatureTable:
    return build_features(plan_features(bars, ("alpha158",), to, end=end))


@pytest.fixture(scope="module")
def whole(bars: Bars, tmp_path_factory: pytest.TempPathFactory) -> Path:
    room = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("raybench.feature_sets.build.PART_BYTES", 1)
        again(bars, room / "f")
    return room


@pytest.fixture
def table(whole: Path, tmp_path: Path) -> Path:
    """A copy of a finished table."""
    shutil.copytree(whole, tmp_path / "copy")
    return tmp_path / "copy" / "f"


def first_part(table: Path) -> Path:
    return sorted(table.glob("*.parquet"))[0]


def flip(file: Path, at: int) -> None:
    data = bytearray(file.read_bytes())
    data[at] ^= 1
    file.write_bytes(data)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


MANIFEST = "f.manifest.json"
DAMAGES: dict[str, Callable[[Path], object]] = {
    "a bit of a part": lambda table: flip(first_part(table), 5000),
    "a bit of its keys": lambda table: flip(first_part(table), 60),
    "a bit of its footer": lambda table: flip(first_part(table), -100),
    "a part cut": lambda table: first_part(table).write_bytes(first_part(table).read_bytes()[:-9]),
    "a part emptied": lambda table: first_part(table).write_bytes(b""),
    "a part gone": lambda table: first_part(table).unlink(),
    "a bit of the manifest": lambda table: flip(table.parent / MANIFEST, 300),
    "the manifest cut": lambda table: (table.parent / MANIFEST).write_bytes(b'{"schema_version": 1, '),
    "the manifest of another version": lambda table: (table.parent / MANIFEST).write_text('{"schema_version": 0}'),
    "the manifest gone": lambda table: (table.parent / MANIFEST).unlink(),
    "the manifest gone and a bit": lambda table: ((table.parent / MANIFEST).unlink(), flip(first_part(table), 5000)),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_same_command_again_mends_it(bars: Bars, whole: Path, table: Path, damage: str) -> None:
    want = contents(whole)
    DAMAGES[damage](table)
    assert contents(table.parent) != want
    assert again(bars, table).fingerprint == open_features(whole / "f").fingerprint
    assert contents(table.parent) == want


@pytest.mark.parametrize("at", [60, 5000, -100])
def test_an_unfinished_build_takes_up_no_part_that_is_damaged(bars: Bars, whole: Path, table: Path, at: int) -> None:
    """It once read the keys alone, and noted the hash of the damaged bytes as that of the part."""
    (table.parent / MANIFEST).unlink()
    sorted(table.glob("*.parquet"))[-1].unlink()
    flip(first_part(table), at)
    again(bars, table)
    assert contents(table.parent) == contents(whole)


def test_what_is_whole_is_taken_up_as_it_is(bars: Bars, table: Path) -> None:
    (table.parent / MANIFEST).unlink()
    times = {file.name: file.stat().st_mtime_ns for file in table.iterdir()}
    again(bars, table)
    assert {file.name: file.stat().st_mtime_ns for file in table.iterdir()} == times


def test_parts_that_carry_no_hash_of_themselves_are_known_by_the_manifest(
    bars: Bars, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of an older version: bars that grow leave them as they are."""
    with monkeypatch.context() as patch:
        patch.setattr("raybench.storage.encoding.sealed", lambda data: data)
        old = again(bars, tmp_path / "f", end="2020-12-31")
    times = {file: Path(file).stat().st_mtime_ns for file in old.files}
    grown = again(bars, tmp_path / "f")
    kept = set(old.files) & set(grown.files)
    assert all(Path(file).stat().st_mtime_ns == times[file] for file in kept)
    assert again(bars, tmp_path / "f") == grown


def test_a_rebuild_removes_what_it_named_and_nothing_else(bars: Bars, table: Path) -> None:
    """It once removed every Parquet file below, such as the scores that somebody had written there."""
    for name in ("scores/date=2020-01-02/scores.parquet", "run/history.parquet", "notes.parquet"):
        (table / name).parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame({"score": [1.0]}).to_parquet(table / name)
    theirs = {name: data for name, data in contents(table).items() if not name.startswith("part-")}
    before = {name for name in contents(table) if name.startswith("part-")}
    grown = again(bars, table, end="2021-03-01")
    now = contents(table)
    assert {name: data for name, data in now.items() if not name.startswith("part-")} == theirs
    assert {name for name in now if name.startswith("part-")} == {files.name_of(file) for file in grown.files}
    assert before - now.keys()


def test_a_manifest_of_somebody_else_s_is_not_written_over(bars: Bars, tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text('{"name": "a program of the web"}')
    with pytest.raises(
        DataError, match=r"f\.manifest\.json: is not a feature manifest .*remove that file, or choose ano"
    ):
        again(bars, tmp_path / "f")
    assert contents(tmp_path) == {MANIFEST: b'{"name": "a program of the web"}'}


def test_two_commands_do_not_write_one_table(bars: Bars, whole: Path, table: Path) -> None:
    """The first to end removed the parts of the other, whose manifest then named files that were gone."""
    with held(str(table), what="features"), pytest.raises(DataError, match="is being written by `raybench features`"):
        write_features(bars.uri, "alpha360", str(table), local=True)
    assert contents(table.parent) == contents(whole)
