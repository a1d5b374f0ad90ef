"""One door for dates and instruments: whatever they are given as, they mean the same."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from raybench.columns import moments
from raybench.columns.numbers import floats
from raybench.errors import DataError
from raybench.market.bars import BarBlock

DAYS = pd.to_datetime(["2020-01-02", "2020-01-03"])
WANTED = DAYS.to_numpy().astype("datetime64[us]")
SHANGHAI = dt.timezone(dt.timedelta(hours=8))
COLUMNS: dict[str, Any] = {
    "ns": pd.Series(DAYS.astype("datetime64[ns]")),
    "ms": pd.Series(DAYS.astype("datetime64[ms]")),
    "zone": pd.Series(DAYS.tz_localize("Asia/Shanghai")),
    "index": DAYS.tz_localize("Asia/Shanghai"),
    "period": pd.Series(DAYS.to_period("D")),
    "numbers": pd.Series([20200102, 20200103]),
    "numbers beside a hole": pd.Series([20200102.0, 20200103.0]),
    "text": pd.Series(["20200102", "20200103"]),
    "category": pd.Series(["2020-01-02", "2020/1/3"]).astype("category"),
    "objects": pd.Series([dt.date(2020, 1, 2), pd.Timestamp("2020-01-03")], dtype=object),
    "several kinds": pd.Series(["2020-01-02", dt.date(2020, 1, 3)], dtype=object),
    "several zones": pd.Series(
        [dt.datetime(2020, 1, 2, tzinfo=SHANGHAI), dt.datetime(2020, 1, 3, tzinfo=dt.UTC)], dtype=object
    ),
    "numpy": np.array(["2020-01-02", "2020-01-03"], "datetime64[D]"),
    "list": ["2020.1.2", "2020-1-3"],
    "date32": pa.array([dt.date(2020, 1, 2), dt.date(2020, 1, 3)]),
    "date64": pa.array([dt.date(2020, 1, 2), dt.date(2020, 1, 3)], pa.date64()),
    "seconds": pa.array(DAYS.to_pydatetime(), pa.timestamp("s")),
    "chunks": pa.chunked_array([["2020-01-02"], ["2020-01-03"]]),
    "string_view": pa.array(["2020-01-02", " 2020-01-03 "], pa.string_view()),
    "large_string": pa.array(["2020-01-02", "2020-01-03T00:00:00+08:00"], pa.large_string()),
    "dictionary": pa.array(["20200102", "20200103"]).dictionary_encode(),
    "decimal": pa.array([Decimal(20200102), Decimal(20200103)]),
}


@pytest.mark.parametrize("kind", COLUMNS)
def test_a_column_of_dates(kind: str) -> None:
    found = moments.datetimes(COLUMNS[kind], where="here")
    assert found.dtype == np.dtype("datetime64[us]")
    np.testing.assert_array_equal(found, WANTED)


@pytest.mark.parametrize(
    ("column", "says"),
    [
        (pd.Series(["2020-01-02", None]), "here: row 2 has no datetime"),
        (pd.Series([pd.NaT, pd.Timestamp("2020-01-02")]), "here: row 1 has no datetime"),
        (["2020-01-02", "02-Jam-2020"], "here: row 2: '02-Jam-2020' is not a date"),
        (
            ["2020-01-02", "13/01/2020"],
            "row 2: '13/01/2020' is not a date as YYYY-MM-DD .*: whether day, month or year",
        ),
        (["2-1-2020 09:30"], "whether day, month or year comes first in 2-1-2020 09:30 would be a guess"),
        (["02-Jan-20"], "the century of 02-Jan-20 would be a guess"),
        ([1577923200, 20200103], "'1577923200' is not a date"),
        ([4_200_000_000], "'4200000000' is not a date"),
        ([1577923200, 1577923200000], "is not a date"),
        ([20200102, 20201332], "here: row 2: '20201332' is not a date"),
        ([5, 7], "'5' is not a date"),
        ([1.5], "column datetime .double. does not hold dates"),
        ([True], "column datetime is of type bool"),
    ],
)
def test_what_is_no_date(column: Any, says: str) -> None:
    with pytest.raises(DataError, match=says):
        moments.datetimes(column, where="here")


NAMED = ("02-Jan-2020", "2 January 2020", "Jan 2, 2020", "jan-02-2020", "2020-JAN-2", "02JAN2020", "Thu, 02 Jan 2020")


@pytest.mark.parametrize("text", NAMED)
def test_months_by_name(text: str) -> None:
    assert (moments.datetimes([text, "2020-01-02"], where="here") == WANTED[0]).all()
    assert moments.moment(text) == WANTED[0]
    assert str(moments.datetimes([f"{text} 9:31:05"], where="here")[0]) == "2020-01-02T09:31:05.000000"


@pytest.mark.parametrize("i", range(1, 13))
def test_every_month_by_name(i: int) -> None:
    when = dt.date(2020, i, 28)
    for form in ("%d-%b-%Y", "%d %B %Y", "%b %d, %Y"):
        assert moments.datetimes([when.strftime(form)], where="here")[0] == np.datetime64(when)


@pytest.mark.parametrize("when", ["20200102093105", "2020-01-02 09:31:05 UTC", 20200102093105])
def test_a_time_without_marks_and_a_zone_by_name(when: Any) -> None:
    assert str(moments.datetimes([when], where="here")[0]) == "2020-01-02T09:31:05.000000"
    assert moments.moment(when) == np.datetime64("2020-01-02T09:31:05")


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("kind", ["int", "float beside a hole", "text", "text of floats"])
def test_counts_since_1970(unit: str, kind: str) -> None:
    count_R = WANTED.astype(f"datetime64[{unit}]").astype(np.int64)
    kinds: dict[str, Any] = {
        "int": count_R,
        "float beside a hole": pd.Series([*count_R.tolist(), None]),
        "text": [str(count) for count in count_R],
        "text of floats": [f"{count}.0" for count in count_R],
    }
    np.testing.assert_array_equal(moments.ends(kinds[kind], where="here")[:2], WANTED)
    assert moments.zones(kinds[kind]).to_pylist()[0].startswith("UTC (")


def test_counts_of_days_that_begin_elsewhere_are_refused() -> None:
    midnight_R = WANTED - np.timedelta64(8, "h")
    count_R = midnight_R.astype("datetime64[s]").astype(np.int64)
    with pytest.raises(DataError, match=r"counts seconds since 1970, and its days begin at 16:00:00 in UTC"):
        moments.datetimes(count_R, where="here")
    hours_R = np.concatenate([count_R, count_R + 3600])
    assert moments.datetimes(hours_R, where="here")[-1] == np.datetime64("2020-01-02T17:00")


def test_an_end_may_be_open() -> None:
    found = moments.ends(["2020-01-02", "", "nan"], where="here")
    assert np.isnat(found).tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("column", "wanted"),
    [
        (pd.Series(["SH600000", " SZ000001 "]), ["SH600000", "SZ000001"]),
        (pd.Series(["A", "B"]).astype("category"), ["A", "B"]),
        (pd.Series([600000, 1]), ["600000", "1"]),
        (pa.array(["A", "B"], pa.string_view()), ["A", "B"]),
        (pa.array([b"A", b"B"]), ["A", "B"]),
        (pa.chunked_array([["A"], ["B"]]), ["A", "B"]),
    ],
)
def test_a_column_of_instruments(column: Any, wanted: list[str]) -> None:
    assert moments.names(column, where="here").to_pylist() == wanted


@pytest.mark.parametrize("column", [["A", None], ["A", "  "], pd.Series(["A", float("nan")], dtype=object)])
def test_a_row_without_an_instrument(column: Any) -> None:
    with pytest.raises(DataError, match="here: row 2 has no instrument"):
        moments.names(column, where="here")


@pytest.mark.parametrize(
    "when",
    [
        "2020-01-02",
        " 20200102 ",
        20200102,
        np.int64(20200102),
        "2020/1/2",
        dt.date(2020, 1, 2),
        dt.datetime(2020, 1, 2, tzinfo=SHANGHAI),
        pd.Timestamp("2020-01-02", tz="Asia/Shanghai"),
        np.datetime64("2020-01-02", "ns"),
    ],
)
def test_one_date(when: moments.Moment) -> None:
    assert moments.moment(when) == WANTED[0]
    assert moments.day(when) == dt.date(2020, 1, 2)
    assert str(moments.end_moment(when)) == "2020-01-02T23:59:59.999999"


@pytest.mark.parametrize("when", ["now", "2020", "2020-06", "soon", 2020, True, "", float("nan"), pd.NaT])
def test_no_date(when: Any) -> None:
    with pytest.raises(DataError, match=r"--start is .*; want a date as YYYY-MM-DD"):
        moments.moment(when, "--start")


@pytest.mark.parametrize(
    "column",
    [
        pd.Series([1.5, None, "None"], dtype=object),
        pd.Series([Decimal("1.5"), None, float("nan")]),
        pd.Series([Decimal("1.5"), np.float64("nan"), "n/a"], dtype=object),
        pa.array(["1.5", "", "NaN"], pa.string_view()),
    ],
)
def test_numbers_of_any_kind(column: Any) -> None:
    np.testing.assert_array_equal(floats(column, "close", where="here"), np.array([1.5, np.nan, np.nan], np.float32))


@pytest.mark.parametrize("kind", COLUMNS)
def test_a_frame_of_bars(kind: str) -> None:
    """As ``import`` reads them, whatever their columns are made of."""
    frame = pd.DataFrame({"instrument": ["A", "A"], "close": [Decimal("1.5"), None]})
    block = BarBlock.from_frame(frame.assign(datetime=pd.Series(list(COLUMNS[kind]), dtype=object)))
    np.testing.assert_array_equal(block.datetime_R, WANTED)
    np.testing.assert_array_equal(block.fields["close"], np.array([1.5, np.nan], np.float32))


def test_a_frame_of_bars_without_a_date() -> None:
    frame = pd.DataFrame({"instrument": ["A", None], "datetime": DAYS, "close": [1.0, 2.0]})
    with pytest.raises(DataError, match="the bars: row 2 has no instrument"):
        BarBlock.from_frame(frame)


def test_the_end_of_a_day_is_its_last_moment() -> None:
    given_K = np.array(["2020-01-02", "2020-01-02T09:30", "NaT"], "datetime64[us]")
    assert moments.last_moments(given_K).astype(str).tolist() == [
        "2020-01-02T23:59:59.999999",
        "2020-01-02T09:30:00.000000",
        "NaT",
    ]
    assert str(moments.last_of_day(given_K[1])) == "2020-01-02T23:59:59.999999"


@pytest.mark.parametrize("name", ["A\0", "A\u200bB", "\ufeffA", "A\tB"])
def test_an_instrument_with_a_character_that_nobody_sees_is_refused(name: str) -> None:
    with pytest.raises(DataError, match=r"t\.csv: .* in column instrument holds a character that nobody sees"):
        moments.names(["A", name], where="t.csv")
