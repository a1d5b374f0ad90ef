"""Score tables of others: as they come out of Qlib and pandas, or refused in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from raybench.errors import DataError
from raybench.score.foreign import scores_of
from raybench.score.table import read_scores

Frame = pd.DataFrame


def frame() -> Frame:
    days = pd.bdate_range("2020-01-01", periods=3)
    keys = pd.MultiIndex.from_product([["SH600000", "SZ000001"], days], names=["instrument", "datetime"])
    return pd.DataFrame({"score": np.arange(6.0)}, index=keys).reset_index()


FORMS: dict[str, Callable[[Frame], Frame]] = {
    "columns": lambda f: f,
    "index of Qlib": lambda f: f.set_index(["datetime", "instrument"]),
    "index without names": lambda f: f.set_index(["datetime", "instrument"]).rename_axis([None, None]),
    "one level as index": lambda f: f.set_index("datetime"),
    "other columns beside": lambda f: f.assign(label=0.0, name="x"),
    "in disorder": lambda f: f.sample(frac=1, random_state=0),
    "categories": lambda f: f.astype({"instrument": "category"}),
    "float32": lambda f: f.astype({"score": "float32"}),
    "dates": lambda f: f.assign(datetime=f["datetime"].dt.date),
    "a zone": lambda f: f.assign(datetime=f["datetime"].dt.tz_localize("Asia/Shanghai")),
    "numbers": lambda f: f.assign(datetime=f["datetime"].dt.strftime("%Y%m%d").astype(int)),
    "text": lambda f: f.assign(datetime=f["datetime"].dt.strftime("%Y%m%d"), score=f["score"].astype(str)),
    "nanoseconds": lambda f: f.astype({"datetime": "datetime64[ns]"}),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_usual_form_gives_the_same(form: str, tmp_path: Path) -> None:
    FORMS[form](frame()).to_parquet(tmp_path / "pred.parquet")
    wanted = frame().sort_values(["datetime", "instrument"], ignore_index=True)
    found = read_scores(str(tmp_path / "pred.parquet"))
    pd.testing.assert_frame_equal(found[["instrument", "datetime", "score"]], wanted, check_dtype=False)
    assert str(found["datetime"].dtype) == "datetime64[us]"


@pytest.mark.parametrize("form", ["columns", "index of Qlib", "one level as index", "categories", "dates", "a zone"])
def test_frames_in_memory_too(form: str) -> None:
    wanted = frame().sort_values(["datetime", "instrument"], ignore_index=True)
    pd.testing.assert_frame_equal(scores_of(FORMS[form](frame()))[list(wanted)], wanted, check_dtype=False)


def test_a_series_of_scores_is_a_table() -> None:
    series = frame().set_index(["datetime", "instrument"])["score"].rename("pred")
    assert list(scores_of(series)["score"]) == [0, 3, 1, 4, 2, 5]


def test_numbers_that_are_none_are_not_scored() -> None:
    found = scores_of(frame().assign(score=[0, np.inf, None, -np.inf, 4, 5]))
    assert found["score"].isna().sum() == 3


REFUSED: dict[str, tuple[Callable[[Frame], Frame], str]] = {
    "another name": (lambda f: f.rename(columns={"score": "$score"}), r"no column score among .*\$score.*want"),
    "a number for a name": (lambda f: f.rename(columns={"score": "0"}), "no column score among .*0"),
    "no keys": (lambda f: f[["score"]], "no column instrument, datetime among score"),
    "no datetime in a row": (lambda f: f.assign(datetime=f["datetime"].where(f.index != 2)), "row 3 has no datetime"),
    "no instrument in a row": (
        lambda f: f.assign(instrument=f["instrument"].where(f.index > 1)),
        "row 1 has no instrument",
    ),
    "twice": (lambda f: pd.concat([f, f.head(2)]), "SH600000 is there twice .*2020-01-01.*2 rows"),
    "words": (lambda f: f.assign(score="high"), "row 1: 'high' is not a number in column score"),
}


@pytest.mark.parametrize("form", REFUSED)
def test_what_is_no_score_table_is_told_in_one_line(form: str, tmp_path: Path) -> None:
    change, text = REFUSED[form]
    change(frame()).to_parquet(tmp_path / "pred.parquet", index=False)
    with pytest.raises(DataError, match=text):
        read_scores(str(tmp_path / "pred.parquet"))


def test_a_pickle_is_not_opened(tmp_path: Path) -> None:
    frame().to_pickle(tmp_path / "pred.pkl")
    with pytest.raises(DataError, match=r"is a pickle, which could run code.*to_parquet"):
        read_scores(str(tmp_path / "pred.pkl"))
