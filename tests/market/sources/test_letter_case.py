"""Names that differ in case only: what is read, what is kept, what is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from raybench.errors import DataError
from raybench.market.bars import open_bars
from raybench.market.importing.job import ImportResult, import_bars
from raybench.market.sources import open_source
from raybench.market.sources.letter_case import differing_in_case, in_lower_case, spelt_alike
from raybench.market.universe import universe_of_frame

FIELDS = ("open", "high", "low", "close", "volume")


@pytest.fixture
def provider(tmp_path: Path) -> Path:
    """SH1 and SZ2 of four days, listed in lower case."""
    root = tmp_path / "provider"
    for folder in ("calendars", "instruments", "features/sh1", "features/sz2"):
        (root / folder).mkdir(parents=True)
    (root / "calendars/day.txt").write_text("2020-01-01\n2020-01-02\n2020-01-03\n2020-01-06\n")
    (root / "instruments/all.txt").write_text("sh1\t2020-01-01\t2020-01-06\nsz2\t2020-01-01\t2020-01-06\n")
    for name in ("sh1", "sz2"):
        write_bins(root / "features" / name, 1.0)
    return root


def write_bins(folder: Path, value: float) -> None:
    folder.mkdir(exist_ok=True)
    for field in FIELDS:
        np.array([0, *[value] * 4], dtype="<f4").tofile(folder / f"{field}.day.bin")


def imported(provider: Path) -> ImportResult:
    return import_bars(open_source(provider), provider.parent / "bars")


def test_universes_in_two_cases_list_the_same_instruments(provider: Path) -> None:
    (provider / "instruments/few.txt").write_text("SH1\t2020-01-01\t2020-01-03\n")
    done = imported(provider)
    bars = open_bars(done.uri)
    assert bars.instruments == ("SH1", "SZ2")
    assert bars.universe("all").instruments == ("SH1", "SZ2")
    assert bars.universe("few").instruments == ("SH1",)
    assert any("several spellings, such as sh1 and SH1" in note for note in done.notes)


def test_one_case_throughout_stays_as_it_is(provider: Path) -> None:
    assert open_bars(imported(provider).uri).instruments == ("sh1", "sz2")


def test_of_two_folders_the_one_in_lower_case_is_read(provider: Path) -> None:
    write_bins(provider / "features/SH1", 7.0)
    done = imported(provider)
    block = open_bars(done.uri).block(["sh1"])
    assert set(block.fields["close"].tolist()) == {1.0}
    assert done.metadata.warnings["left_out_other_case"]["examples"][0].startswith("features/SH1 (beside features/sh1")


def test_two_folders_neither_in_lower_case_are_refused(provider: Path) -> None:
    (provider / "features/sh1").rename(provider / "features/Sh1")
    write_bins(provider / "features/SH1", 7.0)
    with pytest.raises(DataError, match="differ in case only, and neither is in lower case"):
        open_source(provider)


def test_hidden_files_are_left_alone(provider: Path) -> None:
    for place in (
        "features/sh1/._close.day.bin",
        "features/.sz2/close.day.bin",
        "instruments/._all.txt",
        "calendars/._day.txt",
    ):
        (provider / place).parent.mkdir(exist_ok=True)
        (provider / place).write_bytes(bytes([0, 5, 22, 7]) + bytes(400))
    bars = open_bars(imported(provider).uri)
    assert (bars.instruments, bars.fields, bars.universes) == (("sh1", "sz2"), FIELDS, ("all",))


def test_a_universe_file_in_another_case_is_taken_as_the_bars_spell_it(provider: Path) -> None:
    spans = pd.DataFrame({"instrument": ["SH1"], "start": ["2020-01-01"], "end": [None]})
    universe = universe_of_frame("mine", spans)
    done = import_bars(open_source(provider), provider.parent / "bars", universes={"mine": universe})
    assert open_bars(done.uri).universe("mine").instruments == ("sh1",)
    assert any("SH1 as sh1" in note for note in done.notes)


def test_a_table_may_tell_names_apart_by_case_and_it_is_said(tmp_path: Path) -> None:
    days = pd.bdate_range("2020-01-01", periods=8)
    rows = [{"instrument": name, "datetime": day} for name in ("BACPD", "BACpD") for day in days]
    pd.DataFrame(rows).assign(open=1.0, high=1.0, low=1.0, close=1.0, volume=1.0).to_csv(
        tmp_path / "t.csv", index=False
    )
    done = import_bars(open_source(tmp_path / "t.csv"), tmp_path / "bars")
    assert done.metadata.warnings["names_differ_in_case"] == {"count": 1, "examples": ["BACPD and BACpD"]}


def test_paths_are_chosen_from_the_top_down() -> None:
    paths = in_lower_case("/p", ["F/a/x", "f/A/x", "f/a/X", "f/a/x", "f/.a/x"])
    assert paths.actual == {"f/a/x": "f/a/x"}
    assert paths.left_out == ("F (beside f)", "f/A (beside f/a)", "f/a/X (beside f/a/x)")
    assert differing_in_case(["a", "b"]) == ()
    assert spelt_alike(["1", "000001", "SH1", "sh1", "b", "B"]) == ("000001 and 1",)
