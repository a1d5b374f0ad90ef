"""Bars datasets, blocks of bars, and what completes them."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from raybench.errors import DataError
from raybench.market.bars import BarBlock, Bars, open_bars
from raybench.market.calendar import complete, infer_frequency
from raybench.market.importing import parts
from raybench.market.importing.append import append_bars
from raybench.market.importing.job import import_bars
from raybench.market.sources import memory_source
from raybench.market.universe import make_universe
from raybench.storage import parquet

FIELDS = ("open", "high", "low", "close", "volume", "vwap")


def frame(instruments: int = 7, dates: int = 50, seed: int = 0) -> pd.DataFrame:
    """Rows in no order; instrument i lacks some dates, and starts and ends where it likes."""
    rng = np.random.default_rng(seed)
    days = np.arange("2020-01-01", np.datetime64("2020-01-01") + dates, dtype="datetime64[D]")
    parts = []
    for i in range(instruments):
        here = np.sort(rng.permutation(dates)[: rng.integers(dates // 2, dates)])
        part = pd.DataFrame({"instrument": f"I{i}", "datetime": days[here].astype("datetime64[us]")})
        for field in FIELDS:
            part[field] = rng.random(len(here), dtype=np.float32) + 1
        parts.append(part)
    return pd.concat(parts).sample(frac=1, random_state=seed)


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bars:
    """Seven instruments in four files with small row groups."""
    monkeypatch.setattr(parts, "FILE_BYTES", 90 * (8 + 4 * len(FIELDS)))
    monkeypatch.setattr(parts, "ROW_GROUP_ROWS", 60)
    monkeypatch.setattr(parts, "RECENT", 16)
    block = BarBlock.from_frame(frame())
    spans = make_universe(
        "few",
        ["I2", "I5", "GONE"],
        np.full(3, np.datetime64("2020-01-05", "us")),
        np.full(3, np.datetime64("2020-01-20", "us")),
        where="here",
    )
    import_bars(memory_source(block), tmp_path / "bars", universes={"few": spans})
    opened = open_bars(tmp_path / "bars")
    assert len(opened.files) > 2
    return opened


def assert_equal(left: BarBlock, right: BarBlock) -> None:
    assert left.instruments == right.instruments
    np.testing.assert_array_equal(left.start_N1, right.start_N1)
    np.testing.assert_array_equal(left.datetime_R, right.datetime_R)
    assert list(left.fields) == list(right.fields)
    for field, value_R in left.fields.items():
        assert value_R.dtype == np.float32
        assert value_R.flags.c_contiguous
        np.testing.assert_array_equal(value_R, right.fields[field])


def test_what_was_written_is_read(dataset: Bars) -> None:
    block = BarBlock.from_frame(frame(), fields=dataset.fields)
    assert_equal(dataset.block(), block)
    assert dataset.instruments == block.instruments
    assert dataset.frequency == "day"
    np.testing.assert_array_equal(dataset.calendar, np.unique(frame()["datetime"].to_numpy()))
    assert dataset.calendar.dtype == np.dtype("datetime64[us]")


def test_some_instruments_and_fields_come_sorted_by_name(dataset: Bars) -> None:
    whole = dataset.block()
    some = dataset.block(["I6", "I0", "I3"], fields=["vwap", "close"])
    assert some.instruments == ("I0", "I3", "I6")
    assert list(some.fields) == ["vwap", "close"]
    for i, code in enumerate((0, 3, 6)):
        np.testing.assert_array_equal(some.slice(i).fields["close"], whole.slice(code).fields["close"])
        np.testing.assert_array_equal(some.slice(i).datetime_R, whole.slice(code).datetime_R)


def test_no_instruments_give_an_empty_block(dataset: Bars) -> None:
    empty = dataset.block([])
    assert (empty.rows, empty.instruments, empty.start_N1.tolist()) == (0, (), [0])


def test_each_instrument_is_complete_on_the_calendar(dataset: Bars) -> None:
    block, rows = dataset.block(), frame()
    for i, name in enumerate(block.instruments):
        one, given = block.slice(i), rows[rows["instrument"] == name].set_index("datetime").sort_index()
        at = np.searchsorted(dataset.calendar, one.datetime_R)
        assert (np.diff(at) == 1).all()
        assert (one.datetime_R[0], one.datetime_R[-1]) == (given.index[0], given.index[-1])
        want = given["close"].reindex(one.datetime_R).to_numpy()
        np.testing.assert_array_equal(one.fields["close"], want)
        assert np.isnan(want).any()


@pytest.mark.parametrize("max_rows", [1, 45, 100, 10_000])
def test_groups_cover_the_wanted_once_and_keep_to_files(dataset: Bars, max_rows: int) -> None:
    groups = dataset.groups(["I1", "I2", "I4", "I6"], max_rows=max_rows)
    assert [name for group in groups for name in group] == ["I1", "I2", "I4", "I6"]
    old = [file for file in dataset.files if file.span()[0] < dataset.calendar[-32]]
    for group in groups:
        assert sum(set(group) <= set(file.instruments) for file in old) == 1
        assert len(group) == 1 or dataset.block(group).rows <= max_rows


def test_a_universe_comes_without_members_that_have_no_bars(dataset: Bars) -> None:
    assert dataset.universes == ("all", "few")
    assert dataset.universe("few").instruments == ("I2", "I5")
    assert dataset.listed("few").instruments == ("GONE", "I2", "I5")
    every = dataset.universe("all")
    block = dataset.block()
    assert every.mask(block.instruments, block.code_R, block.datetime_R).all()
    with pytest.raises(DataError, match="no universe csi300; it has all, few"):
        dataset.universe("csi300")


def test_it_travels_without_its_calendar(dataset: Bars) -> None:
    assert dataset.calendar.size
    data = pickle.dumps(dataset)
    assert len(data) < 8_000
    assert_equal(pickle.loads(data).block(["I1"]), dataset.block(["I1"]))


@pytest.mark.parametrize(("ask", "says"), [({"instruments": ["Z"]}, "instrument Z"), ({"fields": ["z"]}, "field z")])
def test_what_is_not_there_is_named(dataset: Bars, ask: dict[str, list[str]], says: str) -> None:
    with pytest.raises(DataError, match=says):
        dataset.block(**ask)


def test_only_files_the_metadata_names_are_read(dataset: Bars) -> None:
    folder = Path(dataset.uri) / "bars"
    (folder / "part-99999-0000000000000000.parquet").write_bytes(b"left by a killed import")
    assert_equal(open_bars(dataset.uri).block(), dataset.block())


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "not a bars dataset"),
        (b"", "damaged"),
        (b"{}", "not the metadata"),
        (b'{"kind": "raybench bars", "schema_version": 3}', "schema version 3"),
        (b'{"kind": "raybench bars", "schema_version": 1}', "damaged"),
    ],
)
def test_a_folder_that_is_no_dataset(tmp_path: Path, content: bytes | None, says: str) -> None:
    if content is not None:
        (tmp_path / "metadata.json").write_bytes(content)
    with pytest.raises(DataError, match=says):
        open_bars(tmp_path)


def test_a_frame_with_two_rows_for_one_bar_is_an_error() -> None:
    rows = frame()
    with pytest.raises(DataError, match="two rows for I"):
        BarBlock.from_frame(pd.concat([rows, rows.iloc[[5]]]))


def test_a_frame_may_carry_its_keys_in_the_index() -> None:
    rows = frame()
    assert_equal(BarBlock.from_frame(rows.set_index(["datetime", "instrument"])), BarBlock.from_frame(rows))
    with pytest.raises(DataError, match="no column instrument"):
        BarBlock.from_frame(rows.drop(columns="instrument"))


def test_a_block_becomes_its_frame_again() -> None:
    block = BarBlock.from_frame(frame())
    assert_equal(BarBlock.from_frame(block.to_frame()), block)
    assert block.code_R.tolist() == sorted(block.code_R.tolist())
    assert block.slice(2).instruments == ("I2",)


def test_completing_fills_with_nan_and_keeps_what_is_complete() -> None:
    calendar = np.arange("2020-01-01", "2020-01-08", dtype="datetime64[D]").astype("datetime64[us]")
    when, fields = complete(calendar, calendar[[1, 4]], {"x": np.array([1, 2], np.float32)})
    np.testing.assert_array_equal(when, calendar[1:5])
    np.testing.assert_array_equal(fields["x"], [1, np.nan, np.nan, 2])
    with pytest.raises(DataError, match="not in the calendar"):
        complete(calendar, calendar[:1] + np.timedelta64(1, "h"), {})


@pytest.mark.parametrize(
    ("step", "want"), [("1D", "day"), ("1h", "60min"), ("5min", "5min"), ("30s", "30s"), ("7D", "day")]
)
def test_the_frequency_is_the_commonest_step_within_a_day(step: str, want: str) -> None:
    calendar = pd.date_range("2020-01-01", periods=200, freq=step).to_numpy().astype("datetime64[us]")
    keep = np.ones(200, dtype=bool)
    keep[::17] = False
    assert infer_frequency(calendar[keep]) == want


def seen(uri: Path) -> tuple[object, ...]:
    """Everything a reader takes from a dataset."""
    bars = open_bars(uri)
    block, few, every = bars.block(), bars.universe("few"), bars.listed("all")
    values = [value_R.tobytes() for value_R in (block.datetime_R, *block.fields.values(), bars.calendar)]
    spans = [(u.instrument_K, u.start_K.tobytes(), u.end_K.tobytes()) for u in (few, every)]
    return (*values, *spans, block.instruments, bars.fields, bars.frequency, bars.fingerprint)


@pytest.mark.parametrize("kind", ["bars/*", "calendar/*", "universe/*", "metadata.json"])
def test_a_bit_that_flipped_is_told_or_changes_nothing(tmp_path: Path, dataset: Bars, kind: str) -> None:
    shutil.copytree(dataset.uri, tmp_path / "copy")
    want = seen(tmp_path / "copy")
    told = 0
    for file in sorted((tmp_path / "copy").glob(kind))[:2]:
        content = file.read_bytes()
        for at in range(3, len(content), 47):
            flipped = bytearray(content)
            flipped[at] ^= 1 << at % 8
            file.write_bytes(flipped)
            try:
                assert seen(tmp_path / "copy") == want
            except DataError as error:
                told += "\n" not in str(error)
        file.write_bytes(content)
    assert told > 10
    assert seen(tmp_path / "copy") == want


def test_bars_that_were_imported_before_there_were_checksums_are_read(tmp_path: Path, dataset: Bars) -> None:
    shutil.copytree(dataset.uri, tmp_path / "copy")
    content = json.loads((tmp_path / "copy" / "metadata.json").read_text())
    del content["sha256"]
    for file in content["files"]:
        del file["footer"]
    (tmp_path / "copy" / "metadata.json").write_text(json.dumps(content))
    assert seen(tmp_path / "copy") == seen(Path(dataset.uri))


@pytest.mark.parametrize(
    ("change", "says"),
    [({"files": 3}, "files: Input should"), ({"fields": None}, "fields: Input"), ({"dates": "many"}, "dates: Input")],
)
def test_metadata_that_somebody_changed_is_one_line(
    tmp_path: Path, dataset: Bars, change: dict[str, object], says: str
) -> None:
    content = json.loads((Path(dataset.uri) / "metadata.json").read_text())
    del content["sha256"]
    (tmp_path / "metadata.json").write_text(json.dumps({**content, **change}))
    with pytest.raises(DataError, match=rf"metadata.json: is damaged \({says}"):
        open_bars(tmp_path)


@pytest.mark.parametrize("lookback", [0, 3, 1_000])
@pytest.mark.parametrize(
    ("start", "end"),
    [("2020-01-20", "2020-01-31"), ("2020-02-01", None), (None, "2020-01-09"), ("2020-01-15", "2020-01-15")],
)
def test_a_range_of_dates_has_its_rows_and_those_before_that_were_asked_for(
    dataset: Bars, start: str | None, end: str | None, lookback: int
) -> None:
    got = dataset.block(["I1", "I4", "I6"], ["close"], start=start, end=end, lookback=lookback)
    frame = dataset.block(["I1", "I4", "I6"], ["close"], trailing=True).to_frame()
    place = np.searchsorted(dataset.calendar, frame["datetime"].to_numpy())
    first = 0 if start is None else np.searchsorted(dataset.calendar, np.datetime64(start, "us")) - lookback
    last = (
        len(dataset.calendar) if end is None else np.searchsorted(dataset.calendar, np.datetime64(end, "us"), "right")
    )
    want = frame[(place >= first) & (place < last)].reset_index(drop=True)
    pd.testing.assert_frame_equal(got.to_frame(), want)
    assert got.instruments == tuple(want["instrument"].unique())


def test_a_range_without_rows_is_an_empty_block(dataset: Bars) -> None:
    for start, end in (("2031-01-01", None), (None, "1999-01-01")):
        empty = dataset.block(start=start, end=end)
        assert (empty.rows, empty.instruments, list(empty.fields)) == (0, (), list(dataset.fields))


def lives_long(entries: int, to: Path) -> Bars:
    """Forty instruments on so many dates, the newest five of them appended one by one."""
    days = np.arange("1990-01-01", np.datetime64("1990-01-01") + entries, dtype="datetime64[D]").astype("M8[us]")
    names = [f"I{i:02d}" for i in range(40)]
    frame = pd.DataFrame({"instrument": np.repeat(names, entries), "datetime": np.tile(days, 40)})
    frame = frame.assign(**{field: np.float32(2) for field in FIELDS})
    import_bars(memory_source(BarBlock.from_frame(frame[frame["datetime"] < days[-5]])), to)
    for day in days[-5:]:
        append_bars(memory_source(BarBlock.from_frame(frame[frame["datetime"] == day])), to)
    return open_bars(to)


def test_a_new_date_reads_its_lookback_however_long_the_history(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one, five and twenty years; the rows that are read are in row groups of some hundred dates at most."""
    read: list[int] = []
    groups = parquet.read_groups

    def counted(*args: object, **options: object) -> object:
        table = groups(*args, **options)  # type: ignore[arg-type]
        read.append(table.num_rows)
        return table

    monkeypatch.setattr(parquet, "read_groups", counted)
    most, files = [], []
    for entries in (250, 1250, 5000):
        bars = lives_long(entries, tmp_path / str(entries))
        read.clear()
        block = bars.block(start=str(bars.calendar[-1])[:10], lookback=79)
        assert block.rows == 40 * 80
        most.append(sum(read))
        files.append(len(read))
        read.clear()
        middle = bars.block(start=str(bars.calendar[100])[:10], end=str(bars.calendar[119])[:10])
        assert middle.rows == 40 * 20
        assert sum(read) <= 40 * 512
    assert max(most) <= 40 * 512
    assert max(files) <= 7
