"""The dataset changes as a whole or not at all, wherever the import dies."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.fs as pafs
import pytest

from raybench.errors import DataError
from raybench.market.bars import BarBlock, open_bars
from raybench.market.importing import parts
from raybench.market.importing.job import ImportResult, check_target, import_bars
from raybench.market.sources import memory_source
from raybench.market.universe import Universe, make_universe
from raybench.storage import files, s3_client
from tests.killed import Steps, killed_at

FIELDS = ("open", "high", "low", "close", "volume")


def block(seed: int, instruments: int = 4) -> BarBlock:
    rng = np.random.default_rng(seed)
    days = pd.date_range("2020-01-01", periods=30)
    names = [f"I{i}" for i in range(instruments)]
    frame = pd.DataFrame([(n, d) for n in names for d in days], columns=["instrument", "datetime"])
    return BarBlock.from_frame(frame.assign(**{f: rng.random(len(frame)) + 1 for f in FIELDS}))


def spans(end: str) -> Universe:
    return make_universe("u", ["I0"], np.array(["2020-01-02"], "M8[us]"), np.array([end], "M8[us]"), where="here")


def run(seed: int, to: str | Path) -> ImportResult:
    """Import market ``seed``: other values, another universe, and one instrument more or less."""
    source = memory_source(block(seed, 4 + seed))
    return import_bars(source, to, universes={"u": spans(f"2020-01-1{seed}")}, replace=True)


@pytest.fixture(params=["local", "remote"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Where to import to; two instruments per file."""
    monkeypatch.setattr(parts, "FILE_BYTES", 65 * (8 + 4 * len(FIELDS)))
    if request.param == "local":
        yield str(tmp_path / "bars")
        return
    from fsspec.implementations.dirfs import DirFileSystem
    from fsspec.implementations.memory import MemoryFileSystem

    memory = MemoryFileSystem()
    memory.store.clear()
    memory.pseudo_dirs[:] = [""]
    remote = pafs.PyFileSystem(pafs.FSSpecHandler(DirFileSystem("/s3", memory)))
    monkeypatch.setattr(s3_client, "file_system", lambda endpoint, region: remote)
    yield "s3://bucket/bars"
    memory.store.clear()


def contents(place: str) -> dict[str, bytes]:
    return {name: files.read_bytes(files.join(place, name)) for name in files.sizes(place)}


def holds(place: str, seed: int) -> bool:
    """Whether the dataset is wholly that of market ``seed``: values, calendar and universes."""
    bars = open_bars(place)
    want = block(seed, 4 + seed)
    got = bars.block()
    return (
        got.instruments == want.instruments
        and all(np.array_equal(got.fields[f], want.fields[f]) for f in FIELDS)
        and str(bars.universe("u").end_K[0])[:10] == f"2020-01-1{seed}"
        and len(bars.calendar) == 30
    )


def test_every_step_that_fails_leaves_the_old_or_the_new(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run(0, place)
    counter = Steps()
    monkeypatch.setattr(files, "_checkpoint", counter)
    run(1, place)
    fresh = contents(place)
    seen = set()
    for fatal in range(counter.count):
        run(0, place)
        with killed_at(fatal):
            run(1, place)
        seen.add(old := holds(place, 0))
        assert old != holds(place, 1)
        run(1, place)
        assert contents(place) == fresh  # what the killed one left is gone too
    assert seen == {True, False}
    assert counter.count > 10


def test_a_first_import_that_dies_leaves_none_and_can_be_repeated(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    counter = Steps()
    monkeypatch.setattr(files, "_checkpoint", counter)
    run(0, place)
    fresh = contents(place)
    complete = 0
    for fatal in range(counter.count):
        files.discard(place)
        with killed_at(fatal):
            run(0, place)
        try:
            complete += holds(place, 0)
        except DataError as error:
            assert "not a bars dataset" in str(error)  # noqa: PT017
        run(0, place)
        assert contents(place) == fresh
    assert 0 < complete < counter.count


def test_importing_again_touches_nothing(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(0, place)
    before = contents(place)
    monkeypatch.setattr(files, "_checkpoint", Steps(fatal=0))
    second = run(0, place)
    assert (first.changed, second.changed) == (True, False)
    assert second.metadata == first.metadata
    assert contents(place) == before


def test_the_same_bars_from_elsewhere_are_the_same(place: str) -> None:
    first = run(0, place)
    before = contents(place)
    source = memory_source(block(0), name="another")
    again = import_bars(source, place, universes={"u": spans("2020-01-10")})
    assert not again.changed
    assert again.metadata.source == first.metadata.source
    assert contents(place) == before


def test_a_damaged_or_lost_file_is_put_back(place: str) -> None:
    first = run(0, place)
    before = contents(place)
    lost, damaged = first.metadata.files[0].name, first.metadata.files[1].name
    files.remove(files.join(place, lost))
    files.publish_bytes(files.join(place, damaged), b"damaged")
    assert run(0, place).changed
    assert contents(place) == before


def test_the_fingerprint_is_of_the_content_not_of_the_files(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    few = run(0, place).metadata
    monkeypatch.setattr(parts, "FILE_BYTES", 1 << 20)
    many = run(0, place).metadata
    assert len(few.files) > len(many.files) == 1
    assert few.fingerprint == many.fingerprint


@pytest.mark.parametrize("change", ["value", "nan", "date", "name", "universe", "field"])
def test_the_fingerprint_knows_every_part(tmp_path: Path, change: str) -> None:
    frame = block(0).to_frame()
    before = import_bars(memory_source(BarBlock.from_frame(frame)), tmp_path / "a").metadata.fingerprint
    universes = {"u": spans("2020-01-10")} if change == "universe" else {}
    if change == "value":
        frame.loc[7, "close"] = np.nextafter(np.float32(frame.loc[7, "close"]), np.float32(9))
    elif change == "nan":
        frame.loc[7, "close"] = np.nan
    elif change == "date":
        frame["datetime"] += pd.Timedelta("1D")
    elif change == "name":
        frame["instrument"] = frame["instrument"].str.replace("I3", "I4")
    elif change == "field":
        frame["vwap"] = frame["close"]
    source = memory_source(BarBlock.from_frame(frame))
    assert import_bars(source, tmp_path / "b", universes=universes).metadata.fingerprint != before


def test_a_folder_of_something_else_is_left_alone(place: str) -> None:
    files.publish_bytes(files.join(place, "thesis.docx"), b"years of work")
    with pytest.raises(DataError, match=r"--to is .* holds other files"):
        check_target(place)
    with pytest.raises(DataError, match=r"--to is .* holds other files"):
        run(0, place)
    assert contents(place) == {"thesis.docx": b"years of work"}


def test_a_file_is_no_folder(place: str) -> None:
    files.publish_bytes(place, b"x")
    with pytest.raises(DataError, match="is a file"):
        run(0, place)


def test_somebody_elses_metadata_is_left_alone(place: str) -> None:
    files.publish_bytes(files.join(place, "metadata.json"), json.dumps({"kind": "other"}).encode())
    with pytest.raises(DataError, match="not the metadata of a bars dataset"):
        run(0, place)


def test_files_that_are_not_ours_stay(place: str) -> None:
    run(0, place)
    files.publish_bytes(files.join(place, "notes.txt"), b"mine")
    files.publish_bytes(files.join(place, "bars/mine.parquet"), b"mine")
    run(1, place)
    assert {"notes.txt", "bars/mine.parquet"} <= set(contents(place))


def test_the_folders_hold_published_files_alone(tmp_path: Path) -> None:
    metadata = run(0, tmp_path / "bars").metadata
    assert sorted(os.listdir(tmp_path / "bars")) == ["bars", "calendar", "metadata.json", "universe"]
    assert os.listdir(tmp_path) == ["bars"]
    for file in metadata.files:
        data = (tmp_path / "bars" / file.name).read_bytes()
        assert hashlib.sha256(data).hexdigest() == file.sha256
        assert len(data) == file.bytes
    assert sorted(f"bars/{name}" for name in os.listdir(tmp_path / "bars/bars")) == [
        file.name for file in metadata.files
    ]


def test_other_tools_read_the_folder(tmp_path: Path) -> None:
    run(0, tmp_path / "bars")
    frame = pd.read_parquet(tmp_path / "bars/bars")
    want = block(0).to_frame()
    pd.testing.assert_frame_equal(frame, want, check_dtype=False)
    assert frame.dtypes.astype(str).tolist()[1:] == ["datetime64[us]"] + ["float32"] * 5


def test_universes_that_cannot_be_added(tmp_path: Path) -> None:
    source = memory_source(block(0))
    with pytest.raises(DataError, match="all is made from the bars"):
        import_bars(source, tmp_path / "bars", universes={"all": spans("2020-01-10")})
    strangers = make_universe("u", ["x"], *(np.array(["2020-01-01"], "M8[us]"),) * 2, where="here")
    with pytest.raises(DataError, match=r"none of its 1 instrument has bars; it has x .*the bars have I0"):
        import_bars(source, tmp_path / "bars", universes={"u": strangers})
    assert not (tmp_path / "bars").exists()


def test_a_frame_without_a_required_field_is_refused(tmp_path: Path) -> None:
    source = memory_source(BarBlock.from_frame(block(0).to_frame().drop(columns="low")))
    with pytest.raises(DataError, match="no column low"):
        import_bars(source, tmp_path / "bars")
