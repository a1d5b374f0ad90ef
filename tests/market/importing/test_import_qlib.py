"""Importing Qlib providers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raybench.errors import DataError
from raybench.market.bars import open_bars
from raybench.market.importing.job import import_bars
from raybench.market.sources import detect_format, open_source

DATES = [f"2020-01-{day:02d}" for day in range(1, 11)]
FIELDS = ("open", "high", "low", "close", "volume")


def write_bin(root: Path, instrument: str, field: str, start: int, values: Any, freq: str = "day") -> None:
    folder = root / "features" / instrument
    folder.mkdir(parents=True, exist_ok=True)
    np.array([start, *values], dtype="<f4").tofile(folder / f"{field}.{freq}.bin")


def write_text(root: Path, name: str, lines: list[str]) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text("\n".join(lines) + "\n")


@pytest.fixture
def provider(tmp_path: Path) -> Path:
    """Two instruments with bars, one listed without; SZ2's close starts later than its other fields."""
    root = tmp_path / "provider"
    write_text(root, "calendars/day.txt", DATES)
    write_text(root, "instruments/few.txt", ["SH1\t2020-01-02\t2020-01-04", "GONE\t2020-01-01\t2020-01-09"])
    write_text(root, "instruments/own.txt", ["SZ2\t2020-01-01\t2020-01-31"])
    for field in FIELDS:
        write_bin(root, "sh1", field, 1, np.arange(1, 5))
        late = field == "close"
        write_bin(root, "sz2", field, 4 + late, np.arange(1, 5 - late))
    write_bin(root, "sz2", "vwap", 2, [7.0])
    return root


def test_bins_become_bars(provider: Path, tmp_path: Path) -> None:
    assert detect_format(provider) == "qlib"
    import_bars(open_source(provider), tmp_path / "bars")
    bars = open_bars(tmp_path / "bars")
    assert bars.instruments == ("SH1", "SZ2")
    assert bars.fields == (*FIELDS, "vwap")
    assert [str(day)[:10] for day in bars.calendar] == DATES
    block = bars.block()
    assert block.start_N1.tolist() == [0, 4, 10]
    assert [str(day)[:10] for day in block.datetime_R] == DATES[1:5] + DATES[2:8]
    nan = np.nan
    np.testing.assert_array_equal(block.fields["open"][4:], [nan, nan, 1, 2, 3, 4])
    np.testing.assert_array_equal(block.fields["close"][4:], [nan, nan, nan, 1, 2, 3])
    np.testing.assert_array_equal(block.fields["vwap"], [nan] * 4 + [7] + [nan] * 5)


def test_every_list_of_instruments_is_a_universe_and_all_is_always_there(provider: Path, tmp_path: Path) -> None:
    import_bars(open_source(provider), tmp_path / "bars")
    bars = open_bars(tmp_path / "bars")
    assert bars.universes == ("all", "few", "own")
    assert bars.universe("all").instruments == ("SH1", "SZ2")
    assert bars.universe("few").instruments == ("SH1",)
    assert bars.listed("few").instruments == ("GONE", "SH1")
    day = np.array(["2020-01-04", "2020-01-05"], "datetime64[us]")
    assert bars.universe("few").contains("SH1", day).tolist() == [True, False]


def test_the_providers_own_all_is_kept(provider: Path, tmp_path: Path) -> None:
    write_text(provider, "instruments/all.txt", ["SH1\t2020-01-03\t2020-01-04"])
    import_bars(open_source(provider), tmp_path / "bars")
    assert open_bars(tmp_path / "bars").universe("all").instruments == ("SH1",)


def test_oddities_are_counted_with_examples(provider: Path, tmp_path: Path) -> None:
    write_bin(provider, "sh1", "low", 1, [2.0, 0.0, 9.0, np.nan])
    write_bin(provider, "sh1", "volume", 1, [-1.0, 1.0, np.inf, 1.0])
    done = import_bars(open_source(provider), tmp_path / "bars")
    warnings = done.metadata.warnings
    assert {name: finding["count"] for name, finding in warnings.items()} == {
        "close_outside_low_high": 5,
        "date_without_bars": 2,
        "field_ends_early": 1,
        "field_starts_apart": 2,
        "high_below_low": 2,
        "infinite_value": 1,
        "member_without_files": 1,
        "missing_field": 1,
        "negative_volume": 1,
        "non_positive_price": 1,
        "overnight_jump": 3,
    }
    assert warnings["non_positive_price"]["examples"] == ["SH1 2020-01-03"]
    assert warnings["high_below_low"]["examples"] == ["SH1 2020-01-02", "SH1 2020-01-04"]
    assert warnings["member_without_files"]["examples"] == ["GONE"]
    assert warnings["field_ends_early"]["examples"] == ["SZ2 vwap"]
    assert warnings["field_starts_apart"]["examples"] == ["SZ2 close", "SZ2 vwap"]
    assert any("is a file shifted?: SZ2 close" in line for line in done.warnings)
    assert warnings["missing_field"]["examples"] == ["SH1 vwap"]
    assert open_bars(tmp_path / "bars").metadata.warnings == warnings


def test_any_name_of_frequency_and_one_of_several(provider: Path, tmp_path: Path) -> None:
    moments = [f"2020-01-01 {hour:02d}:30:00" for hour in range(9, 13)]
    write_text(provider, "calendars/half-hour.txt", moments)
    write_text(provider, "calendars/day_future.txt", [*DATES, "2020-01-11"])
    for field in FIELDS:
        write_bin(provider, "sh1", field, 0, [1, 2, 3], freq="half-hour")
    with pytest.raises(DataError, match="day, half-hour; choose one with --frequency"):
        open_source(provider)
    with pytest.raises(DataError, match="no frequency week"):
        open_source(provider, frequency="week")
    import_bars(open_source(provider, frequency="half-hour"), tmp_path / "bars")
    bars = open_bars(tmp_path / "bars")
    assert (bars.frequency, bars.instruments, bars.block().rows) == ("half-hour", ("SH1",), 3)
    assert str(bars.calendar[1]) == "2020-01-01T10:30:00.000000"


def test_names_that_windows_reserves_and_unlisted_folders(provider: Path) -> None:
    write_text(provider, "instruments/mixed.txt", ["Con\t2020-01-01\t2020-01-02"])
    for field in FIELDS:
        write_bin(provider, "_qlib_con", field, 0, [1])
        write_bin(provider, "unlisted", field, 0, [1])
    assert list(open_source(provider).spans) == ["Con", "SH1", "SZ2", "UNLISTED"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "cut short: 0 bytes"),
        (b"\0\0\0\0", "cut short: 4 bytes"),
        (b"\0" * 11, "cut short: 11 bytes"),
        (np.array([-1, 1], "<f4").tobytes(), "starts at -1"),
        (np.array([0.5, 1], "<f4").tobytes(), r"starts at 0\.5"),
        (np.array([np.nan, 1], "<f4").tobytes(), "starts at nan"),
        (np.array([np.inf, 1], "<f4").tobytes(), "starts at inf"),
        (np.array([9, 1, 2], "<f4").tobytes(), "reaches to position 11, the calendar has 10 entries"),
    ],
)
def test_files_that_cannot_be_right(provider: Path, content: bytes, says: str) -> None:
    (provider / "features/sh1/high.day.bin").write_bytes(content)
    with pytest.raises(DataError, match=says) as caught:
        open_source(provider)
    assert "high.day.bin" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "lines", "says"),
    [
        ("calendars/day.txt", [], "calendar is empty"),
        ("calendars/day.txt", ["2020-01-01", "soon"], "line 2: 'soon' is not a date"),
        ("calendars/day.txt", ["2020-01-02", "2020-01-01"], "2020-01-01.* comes after"),
        ("instruments/few.txt", [], "universe few is empty"),
        ("instruments/few.txt", ["SH1\t2020-01-02"], None),
        ("instruments/few.txt", ["SH1\t2020-01-02\tlater"], "line 1: 'later' is not a date"),
        ("instruments/few.txt", ["SH1\t2020-01-02\t2020-01-03", "SH1"], "line 2 has no start"),
    ],
)
def test_lists_that_cannot_be_read(provider: Path, name: str, lines: list[str], says: str | None) -> None:
    write_text(provider, name, lines)
    if says is None:
        assert open_source(provider).universes["few"].to_frame()["end"].isna().all()
        return
    with pytest.raises(DataError, match=says):
        open_source(provider)


def test_a_field_that_nobody_has_is_missing(provider: Path) -> None:
    for name in ("sh1", "sz2"):
        (provider / "features" / name / "volume.day.bin").unlink()
    with pytest.raises(DataError, match=r"no instrument has a file volume\.day\.bin"):
        open_source(provider)


def test_a_file_that_changes_under_way_leaves_nothing(provider: Path, tmp_path: Path) -> None:
    source = open_source(provider)
    write_bin(provider, "sz2", "open", 4, [1, 2, 3])
    with pytest.raises(DataError, match="changed while it was read"):
        import_bars(source, tmp_path / "bars")
    assert not (tmp_path / "bars").exists()


@pytest.mark.shared
def test_the_real_provider(shared: Path, tmp_path: Path) -> None:
    """Every value of some instruments as the file has it, and the oddities the README of the data counts."""
    root = shared / "cn_data"
    done = import_bars(open_source(root), tmp_path / "bars")
    counts = {name: finding["count"] for name, finding in done.metadata.warnings.items()}
    assert counts == {
        "close_outside_low_high": 58,
        "date_with_few_bars": 2,
        "member_without_files": 7,
        "overnight_jump": 18,
        "weekday_without_bars": 43,
    }
    bars = open_bars(tmp_path / "bars")
    assert (len(bars.instruments), len(bars.calendar), bars.frequency) == (684, 3292, "day")
    assert bars.metadata.rows == 1_914_114
    for name in ("SH000300", "SH600000", "SZ300628"):
        block = bars.block([name])
        for field in bars.fields:
            raw = np.fromfile(root / "features" / name.lower() / f"{field}.day.bin", "<f4")
            np.testing.assert_array_equal(block.fields[field], raw[1:])
            assert block.datetime_R[0] == bars.calendar[int(raw[0])]
    lines = (root / "instruments/csi300.txt").read_text().splitlines()
    assert len(bars.listed("csi300").instrument_K) == len(lines)
    assert len(bars.listed("csi300").instruments) - len(bars.universe("csi300").instruments) == 7
    old = [file for file in bars.files if file.span()[0] < bars.calendar[-512]]
    assert all(file.bytes / 2**20 > 20 or file is old[-1] for file in old)
    assert len(bars.files) == len(old) + 1
    assert not import_bars(open_source(root), tmp_path / "bars").changed
