"""Anyone's table can be read: keys of any kind, rows in any order; what is broken is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raybench.errors import DataError
from raybench.feature_sets.table import FeatureTable, open_features
from raybench.storage import parquet
from tests.feature_sets.foreign import foreign

KEYS = ["instrument", "datetime"]


def frame(table: FeatureTable, **wanted: object) -> pd.DataFrame:
    return table.read(**wanted).to_pandas()


def test_anyones_table_is_read_sorted_and_as_float32(tmp_path: Path) -> None:
    foreign().to_parquet(tmp_path / "t.parquet")
    table = open_features(tmp_path / "t.parquet")
    assert (table.columns, table.label) == (("alpha", "count"), "LABEL0")
    got = frame(table)
    assert list(got.columns) == [*KEYS, "alpha", "count", "LABEL0"]
    assert got["instrument"].tolist() == ["A", "A", "B", "B"]
    np.testing.assert_array_equal(got["alpha"], np.float32([3.0, 4.0, np.nan, 1.5]))
    assert table.groups(2) == [("A",), ("B",)]
    assert len(frame(table, start="2024-01-03")) == 2


KINDS: dict[str, Callable[[pd.DataFrame], pa.Table]] = {
    "zones": lambda t: pa.table(t.assign(datetime=t["datetime"].dt.tz_localize("Asia/Shanghai"))),
    "categories": lambda t: pa.table(t.assign(instrument=t["instrument"].astype("category"))),
    "dates": lambda t: pa.table(t.assign(datetime=t["datetime"].dt.date)),
    "numbers": lambda t: pa.table(t.assign(datetime=t["datetime"].dt.strftime("%Y%m%d").astype(int))),
    "text": lambda t: pa.table(t.assign(datetime=t["datetime"].dt.strftime("%Y%m%d"))),
    "text views": lambda t: _cast(pa.table(t), "instrument", pa.string_view()),
    "large text": lambda t: _cast(pa.table(t), "instrument", pa.large_string()),
    "milliseconds": lambda t: _cast(pa.table(t), "datetime", pa.timestamp("ms")),
    "blanks": lambda t: pa.table(t.assign(instrument=t["instrument"] + "  ")),
}


def _cast(table: pa.Table, name: str, kind: pa.DataType) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, table[name].cast(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_dates_and_instruments_of_any_kind_are_understood(tmp_path: Path, kind: str) -> None:
    foreign().to_parquet(tmp_path / "plain.parquet")
    pq.write_table(KINDS[kind](foreign()), tmp_path / "odd.parquet")
    plain, odd = (open_features(tmp_path / f"{name}.parquet") for name in ("plain", "odd"))
    assert odd.groups() == plain.groups()
    np.testing.assert_array_equal(odd.dates(), plain.dates())
    for rows in ({}, {"instruments": ["B"]}, {"start": 20240103}, {"instruments": ["A"], "end": "20240102"}):
        pd.testing.assert_frame_equal(frame(odd, **rows), frame(plain, **rows))
    assert len(frame(odd, instruments=["B"], start="20240103")) == 1


@pytest.mark.parametrize(
    ("key", "ask"),
    [
        ("datetime", lambda t: t.read(start="2024-01-02")),
        ("datetime", lambda t: t.read()),
        ("datetime", lambda t: t.dates()),
        ("instrument", lambda t: t.read()),
        ("instrument", lambda t: t.groups()),
    ],
)
def test_a_row_without_a_key_is_told(tmp_path: Path, key: str, ask: Callable[[FeatureTable], object]) -> None:
    broken = foreign()
    broken.loc[1, key] = None
    broken.to_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataError, match=f"1 row has no {key}"):
        ask(open_features(tmp_path / "t.parquet"))


BROKEN: dict[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], str]] = {
    "double": (lambda t: pd.concat([t, t.iloc[:1]]), "two rows for B at 2024-01-03"),
    "no instrument": (lambda t: t.drop(columns="instrument"), "needs the column instrument"),
    "nameless": (lambda t: t.assign(instrument=["A", None, "B", "B"]), "1 row has no instrument"),
    "no features": (lambda t: t[[*KEYS, "LABEL0"]], "needs numeric columns"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_table_is_refused(tmp_path: Path, case: str) -> None:
    change, message = BROKEN[case]
    change(foreign()).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataError, match=message):
        open_features(tmp_path / "t.parquet").read()


def test_an_index_that_pandas_stored_is_no_feature(tmp_path: Path) -> None:
    foreign().sort_values("alpha").to_parquet(tmp_path / "t.parquet", index=True)
    assert "__index_level_0__" in parquet.read_schema(str(tmp_path / "t.parquet")).names
    assert open_features(tmp_path / "t.parquet").columns == ("alpha", "count")


def test_text_is_no_feature(tmp_path: Path) -> None:
    foreign().to_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataError, match="column comment is of type"):
        open_features(tmp_path / "t.parquet").read(columns=["comment"])


@pytest.mark.parametrize(("last", "kept"), [("2020-01-10", True), ("2020-01-11", False)])
def test_an_empty_newest_date_is_to_come_unless_nobody_has_numbers_on_weekends(
    tmp_path: Path, last: str, kept: bool
) -> None:
    """A Friday whose numbers are late is kept, for scoring to refuse; a Saturday that was filled in is none."""
    days = [*pd.bdate_range("2020-01-01", "2020-01-09"), pd.Timestamp(last)]
    keys = pd.MultiIndex.from_product([[f"I{i}" for i in range(8)], days], names=KEYS)
    rows = pd.DataFrame({"mine": 1.0}, index=keys).reset_index()
    rows["mine"] = rows["mine"].where(rows["datetime"] != days[-1])
    rows.to_parquet(tmp_path / "a.parquet")
    found = open_features(tmp_path).settled().dates()
    assert (found[-1] == np.datetime64(last)) == kept


def test_dates_of_anyones_table_without_any_number_go(tmp_path: Path) -> None:
    """Weekends of empty rows go, in whichever column and file a number may be; what begins empty stays."""
    days = pd.date_range("2020-01-01", periods=20)
    keys = pd.MultiIndex.from_product([[f"I{i}" for i in range(8)], days], names=KEYS)
    rows = pd.DataFrame({"mine": 1.0, "other": 2.0}, index=keys).reset_index()
    weekend, begins = rows["datetime"].dt.day_of_week >= 5, rows["datetime"] == days[0]
    rows["mine"] = rows["mine"].where(~(weekend | begins | (rows["datetime"] == days[8])))
    rows["other"] = rows["other"].where(
        ~(weekend | begins) | (rows["instrument"] == "I7") & (rows["datetime"] == days[3])
    )
    rows.iloc[:80].to_parquet(tmp_path / "a.parquet")
    rows.iloc[80:].to_parquet(tmp_path / "b.parquet")
    table = open_features(tmp_path).settled()
    gone = [day for day in days if day.day_of_week >= 5 and day != days[3]]
    assert set(table.dates().tolist()) == set(days.drop(gone).to_numpy().astype("datetime64[us]").tolist())
    assert len(frame(table)) == 8 * (20 - len(gone))
    (told,) = table.row_dates.told
    assert f"{len(gone)} dates left out, on which no row has a number in any column: {gone[0].date()}" in told
