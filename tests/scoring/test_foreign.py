"""Score tables of others: as they come out of Qlib and pandas, or refused in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from raybench.errors import DataError
from raybench.scoring.foreign import scores_of
from raybench.scoring.table import read_scores

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


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (["a"] * 6, {"a"}),
        ([7] * 6, {"7"}),
        (["a", "a", None, None, "b", "b"], {"a", "(none)", "b"}),
        ([None] * 6, None),
        ([np.nan] * 6, None),
        (pd.Categorical(["a", "b"] * 3), {"a", "b"}),
        ([b"a"] * 6, {"b'a'"}),
    ],
)
def test_the_run_of_each_row_stays_with_it(given: Any, kept: set[str] | None, tmp_path: Path) -> None:
    frame().assign(run_id=given).to_parquet(tmp_path / "pred.parquet")
    for found in (read_scores(str(tmp_path / "pred.parquet")), scores_of(frame().assign(run_id=given))):
        assert (set(found["run_id"]) if "run_id" in found else None) == kept


def test_files_with_and_without_an_id_in_one_folder(tmp_path: Path) -> None:
    frame().head(3).to_parquet(tmp_path / "a.parquet")
    frame().tail(3).set_index(["datetime", "instrument"]).assign(run_id="b").to_parquet(tmp_path / "b.parquet")
    assert read_scores(str(tmp_path))["run_id"].tolist() == ["(none)", "b"] * 3


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


def test_scores_in_csv_are_told_what_they_should_be(tmp_path: Path) -> None:
    frame().to_csv(tmp_path / "pred.csv", index=False)
    with pytest.raises(DataError, match=r"scores are read from Parquet.*read_csv.*to_parquet"):
        read_scores(str(tmp_path / "pred.csv"))


def test_dates_go_by_the_rules_of_bars(tmp_path: Path) -> None:
    """Daily rows get one clock, and what is odd about their dates is said; nothing is left out before bars are met."""
    days = pd.bdate_range("2020-01-01", periods=20) + pd.Timedelta("15:00:00")
    keys = pd.MultiIndex.from_product([[f"I{i}" for i in range(8)], days], names=["instrument", "datetime"])
    scores = pd.DataFrame({"score": np.arange(160.0)}, index=keys).reset_index()
    scores.loc[3, "datetime"] += pd.Timedelta("00:00:07")
    scores.loc[159, "datetime"] = pd.Timestamp("1970-01-01 15:00:00")
    scores.to_parquet(tmp_path / "pred.parquet")
    told: list[str] = []
    found = read_scores(str(tmp_path / "pred.parquet"), warn=told.append)
    assert len(found) == 160
    assert set(found["datetime"]) == {*days, pd.Timestamp("1970-01-01 15:00:00")}
    assert [line.partition(": ")[2].partition(",")[0] for line in told] == [
        "1 date across a gap far longer than a market is closed",
        "1 daily row with another clock than the rest",
    ]
    again: list[str] = []
    pd.testing.assert_frame_equal(scores_of(scores, warn=again.append), found)
    assert [line.replace("scores: ", "") for line in again] == [line.partition(": ")[2] for line in told]


def test_scores_that_lie_a_day_early_are_said() -> None:
    days = pd.bdate_range("2020-01-01", periods=20, tz="Asia/Shanghai").tz_convert("UTC")
    keys = pd.MultiIndex.from_product([["A", "B"], days], names=["instrument", "datetime"])
    told: list[str] = []
    scores_of(pd.Series(np.arange(40.0), index=keys, name="score"), warn=told.append)
    assert [line for line in told if "names the day before the session's" in line or "name the day before" in line]
