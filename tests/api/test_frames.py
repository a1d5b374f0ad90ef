"""Whatever a frame is made of, and wherever its keys are, the verbs give the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

import raybench
from raybench.errors import DataError
from tests.market.small_market import market

BARS = market().to_frame()
QLIB = BARS.set_index(["datetime", "instrument"])
FORMS: dict[str, Callable[[], Any]] = {
    "index of Qlib": lambda: QLIB,
    "index of Qlib turned": lambda: BARS.set_index(["instrument", "datetime"]),
    "index without names": lambda: QLIB.rename_axis([None, None]),
    "columns of Qlib": lambda: QLIB.set_axis(pd.MultiIndex.from_product([["feature"], QLIB.columns]), axis=1),
    "one level as index": lambda: BARS.set_index("datetime"),
    "in disorder": lambda: BARS.sample(frac=1, random_state=0),
    "numbers for dates": lambda: BARS.assign(datetime=BARS["datetime"].dt.strftime("%Y%m%d").astype(int)),
    "polars": lambda: pytest.importorskip("polars").from_pandas(BARS),
    "polars, not collected": lambda: pytest.importorskip("polars").from_pandas(BARS).lazy(),
    "arrow": lambda: pytest.importorskip("pyarrow").Table.from_pandas(BARS),
}


@pytest.mark.parametrize("form", FORMS)
def test_features_of_a_frame(form: str) -> None:
    wanted = raybench.features(BARS, columns=["ROC5", "STD5"])
    pd.testing.assert_frame_equal(raybench.features(FORMS[form](), columns=["ROC5", "STD5"]), wanted)


CAPITALS = {
    "instrument": "Ticker",
    "datetime": "Date",
    **{n: n.title() for n in ("open", "high", "low", "close", "volume")},
}
NAMED = BARS.rename(columns=CAPITALS)
SIDE = NAMED.set_index(["Date", "Ticker"]).rename_axis(columns="Price").unstack("Ticker")
OTHERS: dict[str, Callable[[], Any]] = {
    "capital names": lambda: NAMED,
    "capital names in the index": lambda: NAMED.set_index(["Date", "Ticker"]),
    "Symbol and DATE": lambda: NAMED.rename(columns={"Ticker": "Symbol", "Date": "DATE"}),
    "fields of Qlib": lambda: QLIB.add_prefix("$"),
    "fields of Qlib below a level": lambda: QLIB.set_axis(
        pd.MultiIndex.from_product([["feature"], [f"${name}" for name in QLIB.columns]]), axis=1
    ),
    "dates as index": lambda: NAMED.set_index("Date"),
    "dates as index without a name": lambda: NAMED.set_index("Date").rename_axis(None),
    "months by name": lambda: NAMED.assign(Date=NAMED["Date"].dt.strftime("%d-%b-%Y")),
    "a date and a time": lambda: NAMED.assign(Date=NAMED["Date"].dt.strftime("%Y-%m-%d"), Time="00:00"),
    "counts of milliseconds": lambda: NAMED.assign(Date=NAMED["Date"].astype("datetime64[ms]").astype("int64")),
    "polars, capital names": lambda: pytest.importorskip("polars").from_pandas(NAMED),
    "yfinance, prices first": lambda: SIDE,
    "yfinance, tickers first": lambda: SIDE.swaplevel(axis=1).sort_index(axis=1),
    "side by side, without names": lambda: SIDE.rename_axis(columns=[None, None], index=None),
}


@pytest.mark.parametrize("form", OTHERS)
@pytest.mark.filterwarnings("ignore:.*(columns taken|since 1970)")
def test_features_of_a_frame_with_other_names(form: str) -> None:
    wanted = raybench.features(BARS, columns=["ROC5", "STD5"])
    found = raybench.features(OTHERS[form](), columns=["ROC5", "STD5"])
    if "side" in form or "yfinance" in form:  # where nobody can tell a suspended first or last row from none
        wanted = wanted.merge(found[["instrument", "datetime"]])
    assert len(found) > 0.99 * len(BARS)
    pd.testing.assert_frame_equal(found, wanted)


def test_one_instrument_called_as_a_price() -> None:
    low = BARS[BARS["instrument"] == "I0"].dropna().assign(instrument="LOW")
    side = low.rename(columns=CAPITALS).set_index(["Date", "Ticker"]).rename_axis(columns="Price").unstack("Ticker")
    with pytest.warns(UserWarning, match="columns taken"):
        assert set(raybench.features(side, columns=["ROC5"])["instrument"]) == {"LOW"}


def test_what_was_taken_is_said_where_it_was_given() -> None:
    with pytest.warns(UserWarning, match="the bars: columns taken: Ticker as instrument, Date as datetime") as told:
        raybench.features(NAMED.assign(**{"Adj Close": NAMED["Close"]}), columns=["ROC5"])
    assert told[0].filename == __file__
    assert "Adj Close as adj_close" in str(told[0].message)
    with pytest.warns(UserWarning, match="datetimes were taken for milliseconds since 1970, as clocks in UTC"):
        raybench.features(BARS.assign(datetime=BARS["datetime"].astype("datetime64[ms]").astype("int64")))


@pytest.mark.filterwarnings("ignore:.*columns taken")
def test_scores_under_other_names_leave_their_columns_alone() -> None:
    score, label = scores_and_labels()
    wanted = raybench.evaluate(score, label).metrics
    given = score.reset_index().rename(columns={"datetime": "Date", "instrument": "Symbol"})
    assert raybench.evaluate(given.assign(Close=1.0), label).metrics == wanted


def scores_and_labels() -> tuple[pd.DataFrame, pd.DataFrame]:
    rng = np.random.default_rng(0)
    keys = pd.MultiIndex.from_product([pd.bdate_range("2020-01-01", periods=30), list("ABCDEFGHIJ")])
    keys.names = ["datetime", "instrument"]
    label = rng.normal(size=len(keys))
    score = pd.DataFrame({"score": label + rng.normal(size=len(keys))}, index=keys)
    return score, pd.DataFrame({"label": label}, index=keys)


def test_scores_and_labels_of_any_form() -> None:
    score, label = scores_and_labels()
    wanted = raybench.evaluate(score.reset_index(), label.reset_index()).metrics
    polars = pytest.importorskip("polars")
    for form in (score, score["score"], polars.from_pandas(score.reset_index())):
        assert raybench.evaluate(form, label["label"]).metrics == wanted
    assert raybench.evaluate(score, label, start=20200110, end="2020-01-31").daily.shape[0] == 16


def test_a_result_shows_itself_in_a_line_and_in_a_table() -> None:
    result = raybench.evaluate(*scores_and_labels())
    assert repr(result).startswith("<evaluation of 30 dates: IC 0.6946")
    assert len(repr(result)) < 200
    assert result._repr_html_().startswith("<table><caption")


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: raybench.features(BARS.assign(datetime="01/02/2020")), "whether day, month or year comes first"),
        (lambda: raybench.features(BARS.drop(columns="instrument")), "no column instrument among datetime"),
        (
            lambda: raybench.features(NAMED.drop(columns="Ticker")),
            r"no column instrument .* frame\.assign\(instrument=",
        ),
        (lambda: raybench.features(BARS.drop(columns="instrument").set_index("datetime")), "no column instrument"),
        (
            lambda: raybench.features(NAMED.assign(Symbol="x", CLOSE=1.0)),
            "Ticker and Symbol could each .*; Close and CL",
        ),
        (lambda: raybench.features(NAMED.assign(Time=930)), "Date and Time could each be the datetime"),
        (lambda: raybench.features({"close": [1.0]}), "is a dict; want a frame of pandas or polars"),
        (lambda: raybench.evaluate(*scores_and_labels(), start="soon"), "^start= is 'soon'; want a date"),
        (lambda: raybench.features(BARS, set="alpha1"), "want set= alpha158 or alpha360"),
        (lambda: raybench.features("nowhere"), "nowhere: is not a bars dataset"),
    ],
)
def test_errors_speak_of_arguments(call: Callable[[], Any], says: str) -> None:
    with pytest.raises(DataError, match=says):
        call()
