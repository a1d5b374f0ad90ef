"""Feature tables: what is written is what was computed, whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import raybench
from raybench.errors import DataError
from raybench.feature_sets import pieces
from raybench.feature_sets.alpha158 import NAMES
from raybench.feature_sets.build import FeatureJob, build_features, parse_sets, plan_features
from raybench.feature_sets.table import FeatureTable, open_features, read_manifest
from raybench.market.bars import BarBlock, Bars, open_bars
from raybench.market.importing.append import append_bars
from raybench.market.importing.job import import_bars
from raybench.market.sources import memory_source
from raybench.market.universe import universe_of_frame
from raybench.storage import files
from tests.feature_sets.foreign import foreign
from tests.market.small_market import market

KEYS = ["instrument", "datetime"]


@pytest.fixture(scope="module")
def bars(tmp_path_factory: pytest.TempPathFactory) -> Bars:
    folder = tmp_path_factory.mktemp("features")
    spans = pd.DataFrame(
        {
            "instrument": ["I0", "I0", "I2"],
            "start": ["2020-03-02", "2021-01-04", "2020-06-01"],
            "end": ["2020-07-31", "2021-12-31", "2020-06-30"],
        }
    )
    import_bars(memory_source(market()), folder / "bars", universes={"few": universe_of_frame("few", spans)})
    return open_bars(folder / "bars")


@pytest.fixture(autouse=True)
def _one_instrument_per_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raybench.feature_sets.build.PART_BYTES", 1)


def build(bars: Bars, to: Path, set: str = "alpha158", **rows: str) -> FeatureTable:
    return build_features(plan_features(bars, parse_sets(set), to, **rows))


def frame(table: FeatureTable, **wanted: object) -> pd.DataFrame:
    return table.read(**wanted).to_pandas()


def test_the_table_holds_what_the_pure_function_gives(bars: Bars, tmp_path: Path) -> None:
    table = build(bars, tmp_path / "f", "alpha158,alpha360")
    want = raybench.features(market().to_frame(), set="alpha158,alpha360")
    pd.testing.assert_frame_equal(frame(table), want, check_dtype=False)
    assert list(want.columns[:2]) == KEYS
    assert want.columns[-1] == "LABEL0"
    assert want.columns.is_unique  # OPEN0, HIGH0, LOW0 and VWAP0 are in both sets
    assert set(frame(table).dtypes[2:].astype(str)) == {"float32"}


@pytest.mark.parametrize(
    "rows", [{"universe": "few"}, {"start": "2020-09-01"}, {"universe": "few", "end": "2021-02-01"}]
)
def test_choosing_rows_changes_no_value(bars: Bars, tmp_path: Path, rows: dict[str, str]) -> None:
    whole, some = frame(build(bars, tmp_path / "f")), frame(build(bars, tmp_path / "g", **rows))
    keep = whole["datetime"].between(rows.get("start", "2000-01-01"), rows.get("end", "2100-01-01"))
    if "universe" in rows:
        codes, names = pd.factorize(whole["instrument"])
        keep &= bars.universe("few").mask(list(names), codes, whole["datetime"].to_numpy())
    assert 0 < len(some) < len(whole)
    pd.testing.assert_frame_equal(some, whole[keep].reset_index(drop=True))


def test_the_folder_is_plain_parquet_for_anyone(bars: Bars, tmp_path: Path) -> None:
    table = build(bars, tmp_path / "f")
    assert all(name.endswith(".parquet") for name in os.listdir(tmp_path / "f"))
    assert sorted(os.listdir(tmp_path)) == ["f", "f.manifest.json"]
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "f"), frame(table))


def test_reading_pushes_down_columns_instruments_and_dates(
    bars: Bars, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = build(bars, tmp_path / "f")
    assert table.instruments() == ("I0", "I1", "I2")
    assert table.groups() == [("I0",), ("I1",), ("I2",)]
    np.testing.assert_array_equal(table.dates(), bars.calendar)
    opened: list[str] = []
    original = files.open_input
    monkeypatch.setattr("raybench.storage.parquet.open_input", lambda uri: opened.append(uri) or original(uri))
    got = frame(table, columns=["STD5", "KLEN"], instruments=["I1"], start="2020-09-01", end="2020-09-30")
    assert len(set(opened)) == 1
    assert list(got.columns) == [*KEYS, "STD5", "KLEN"]
    assert set(got["instrument"]) == {"I1"}
    assert len(got) == 22
    assert len(frame(table, columns=["KLEN"], instruments=["none"])) == 0


def test_a_finished_table_is_left_as_it_is(bars: Bars, tmp_path: Path) -> None:
    first = build(bars, tmp_path / "f")
    times = [os.stat(file).st_mtime_ns for file in first.files]
    again = build(bars, tmp_path / "f")
    assert again == first
    assert [os.stat(file).st_mtime_ns for file in again.files] == times


class Failing:
    """Breaks at the k-th step that changes what is stored."""

    def __init__(self, at: int) -> None:
        self.left = at

    def __call__(self, step: str, uri: str) -> None:
        self.left -= 1
        if self.left == 0:
            raise ConnectionError(f"no {step} of {uri}")


def interrupt_everywhere(job: FeatureJob, monkeypatch: pytest.MonkeyPatch, look: Callable[[], None]) -> int:
    """Build until it works, interrupted at step 1, 2, ... each from where the one before stopped."""
    for at in range(1, 200):
        with monkeypatch.context() as patch:
            patch.setattr(files, "_checkpoint", Failing(at))
            try:
                build_features(job)
            except ConnectionError:
                look()
                continue
        return at
    raise AssertionError("never finished")


def test_an_interrupted_build_shows_nothing_and_goes_on(
    bars: Bars, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look() -> None:
        if (read_manifest(tmp_path / "f") or {}).get("state") == "complete":  # in place, its folder not forced to disk
            return
        with pytest.raises(DataError, match=r"not finished|no Parquet|no such"):
            open_features(tmp_path / "f").read()

    job = plan_features(bars, ("alpha158",), tmp_path / "f")
    seen: list[int] = []
    steps = interrupt_everywhere(job, monkeypatch, lambda: (look(), seen.append(1))[0])
    assert steps > 5
    assert len(seen) == steps - 1
    want = build(bars, tmp_path / "g")
    assert open_features(tmp_path / "f").fingerprint == want.fingerprint
    assert sorted(os.listdir(tmp_path)) == ["f", "f.manifest.json", "g", "g.manifest.json"]


def test_an_interrupted_rebuild_leaves_the_old_table_or_shows_the_new(
    bars: Bars, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = frame(build(bars, tmp_path / "f", universe="few"))
    new = frame(build(bars, tmp_path / "g", start="2020-06-01"))

    def look() -> None:
        seen = frame(open_features(tmp_path / "f"))
        assert seen.equals(old) or seen.equals(new)

    interrupt_everywhere(plan_features(bars, ("alpha158",), tmp_path / "f", start="2020-06-01"), monkeypatch, look)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "f"), new)


def test_what_somebody_else_put_there_is_not_touched(bars: Bars, tmp_path: Path) -> None:
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "mine.parquet").write_bytes(b"precious")
    with pytest.raises(DataError, match="Parquet files that raybench did not write"):
        build(bars, tmp_path / "f")
    assert (tmp_path / "f" / "mine.parquet").read_bytes() == b"precious"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"universe": "nobody"}, "no universe nobody"),
        ({"start": "2030-01-01"}, "change --start or --end"),
        ({"universe": "few", "end": "2020-02-01"}, "no row is in universe few"),
        ({"start": "yesterday"}, "--start is .*; want a date"),
    ],
)
def test_nothing_to_build_is_an_error(bars: Bars, tmp_path: Path, rows: dict[str, str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        build(bars, tmp_path / "f", **rows)


def test_the_fingerprint_follows_the_content(bars: Bars, tmp_path: Path) -> None:
    prints = set()
    for value in (1.0, 2.0):
        foreign().assign(alpha=value).to_parquet(tmp_path / "t.parquet")
        prints.add(open_features(tmp_path / "t.parquet").fingerprint)
    prints |= {build(bars, tmp_path / "f").fingerprint, build(bars, tmp_path / "g", end="2020-09-01").fingerprint}
    assert len(prints) == 4


def test_the_pure_function_keeps_some_columns_in_order() -> None:
    bars = market(1).to_frame()
    some = raybench.features(bars, columns=["STD5", "KLEN"])
    assert list(some.columns) == [*KEYS, "KLEN", "STD5", "LABEL0"]
    pd.testing.assert_frame_equal(some, raybench.features(bars)[some.columns])
    assert raybench.features(bars).columns[2:-1].tolist() == list(NAMES)
    with pytest.raises(DataError, match="'alpha159' is not known"):
        raybench.features(bars, set="alpha159")


def test_dates_of_anyones_table_go_by_the_rules_of_bars(bars: Bars, tmp_path: Path) -> None:
    """Dates across a gap that no market leaves go, daily rows get one clock, both are said; ours is as it is."""
    days = pd.bdate_range("2020-01-01", periods=20) + pd.Timedelta("15:00:00")
    keys = pd.MultiIndex.from_product([[f"I{i}" for i in range(8)], days], names=KEYS)
    rows = pd.DataFrame({"mine": np.arange(160.0)}, index=keys).reset_index()
    rows.loc[3, "datetime"] += pd.Timedelta("00:00:07")
    rows.loc[159, "datetime"] = pd.Timestamp("1970-01-01 15:00:00")
    rows.iloc[:80].to_parquet(tmp_path / "a.parquet")
    rows.iloc[80:].to_parquet(tmp_path / "b.parquet")
    table = open_features(tmp_path).settled()
    assert table.dates().tolist() == days.to_numpy().astype("datetime64[us]").tolist()
    dates, counts = table.rows_by_date()
    assert (len(dates), counts.sum()) == (20, 159)
    read = frame(table)
    assert read["mine"].tolist() == [float(i) for i in range(159)]
    assert set(read["datetime"]) == set(days)
    stray, clock = table.row_dates.told
    assert "1 date left out, across a gap far longer than a market is closed" in stray
    assert clock.endswith("taken as of the same date: I0 2020-01-06 15:00:07")
    ours = build(bars, tmp_path / "ours")
    assert ours.settled() is ours


def grown(to: Path, rows: pd.DataFrame, last: str) -> Bars:
    """Bars that end with ``last``, appended to what is there."""
    source = memory_source(BarBlock.from_frame(rows[rows["datetime"] <= last]))
    append_bars(source, to)
    return open_bars(to)


@pytest.mark.parametrize("sets", ["alpha158", "alpha360"])
def test_one_new_date_remakes_the_newest_parts_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sets: str
) -> None:
    """Of a table over bars that grow by a date, by a late listing, and by a corrected bar."""
    monkeypatch.setattr("raybench.feature_sets.build.PART_BYTES", 3 * 4 * 158 * pieces.SLICE)
    rows = market(instruments=9, dates=600).to_frame().dropna()
    last = [str(day)[:10] for day in np.unique(rows["datetime"])[-4:]]
    late = rows["instrument"] != "I4"
    table = build(grown(tmp_path / "bars", rows[late], last[0]), tmp_path / "f", sets)
    made = set(table.files)
    table = build(grown(tmp_path / "bars", rows[late], last[1]), tmp_path / "f", sets)
    slices = {name: name.split("-")[-2] for name in table.files}
    newest = {name for name, number in slices.items() if number == max(slices.values())}
    assert set(table.files) - made == newest
    assert len(made & set(table.files)) >= 2 * len(newest)
    made = set(table.files)
    bars = grown(tmp_path / "bars", rows, last[2])
    table = build(bars, tmp_path / "f", sets)
    assert len(made & set(table.files)) > len(table.files) / 3
    corrected = rows.copy()
    corrected.loc[(rows["instrument"] == "I0") & (rows["datetime"] == rows["datetime"].min()), "close"] *= 1.01
    made = set(table.files)
    bars = grown(tmp_path / "bars", corrected, last[2])
    table = build(bars, tmp_path / "f", sets)
    assert len(set(table.files) - made) == 1
    once = build(bars, tmp_path / "once", sets)
    assert [part.sha256 for part in once.parts] == [part.sha256 for part in table.parts]
    want = raybench.features(bars.block().to_frame(), set=sets)
    got = frame(table)
    kept = got.merge(want[KEYS], on=KEYS)
    pd.testing.assert_frame_equal(kept, want, check_dtype=False)
    trailing = len(got) - len(want)
    assert trailing == bars.block(trailing=True).rows - bars.block().rows


def test_groups_stay_when_a_name_comes() -> None:
    names = [f"N{i:04d}" for i in range(2000)]
    before, after = (set(pieces.stable_groups(each, 40)) for each in (names, sorted([*names, "N1000x"])))
    assert len(before - after) <= 3
    assert [name for group in pieces.stable_groups(names, 40) for name in group] == names
    assert max(map(len, before)) <= 40
    assert len(pieces.stable_groups(names, 0)) == len(names)
