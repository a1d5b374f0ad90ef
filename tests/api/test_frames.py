"""Whatever a frame is made of, and wherever its keys are, the verbs give the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

import raybench
from raybench.errors import DataError
from tests.data.small_market import market

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
        (lambda: raybench.features(BARS.drop(columns="instrument")), "no column instrument among datetime"),
        (lambda: raybench.features({"close": [1.0]}), "is a dict; want a frame of pandas or polars"),
        (lambda: raybench.evaluate(*scores_and_labels(), start="soon"), "^start= is 'soon'; want a date"),
        (lambda: raybench.features(BARS, set="alpha1"), "want set= alpha158 or alpha360"),
        (lambda: raybench.features("nowhere"), "nowhere: is not a bars dataset"),
    ],
)
def test_errors_speak_of_arguments(call: Callable[[], Any], says: str) -> None:
    with pytest.raises(DataError, match=says):
        call()
