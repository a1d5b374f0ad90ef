"""What the runs of an ensemble said, kept beside the scores of the ensemble."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import pytest

from raybench.scoring.job import DayScorer, Target
from raybench.scoring.members import members_uri, read_members
from raybench.scoring.predictor import Predictor
from raybench.scoring.table import read_scores
from raybench.storage import files
from tests.scoring.test_job import DAYS, Says


def write(to: Path, *says: Says, run_id: str = "both", runs: tuple[str, ...] = ("a", "b")) -> None:
    target = Target(to=str(to), run_id=run_id, members={str(day): 4 for day in DAYS}, run_ids=runs)
    list(DayScorer(cast("list[Predictor]", list(says)), target).score_days(DAYS[:3]))


def test_each_member_has_a_column_of_its_scores_for_the_instruments_of_the_ensemble(tmp_path: Path) -> None:
    to = tmp_path / "scores"
    write(to, Says("ABD", [], hours=(10, 11)), Says("BCD", [], hours=(10, 11)))
    scores = read_scores(str(to)).sort_values(["instrument", "datetime"], ignore_index=True)
    found = read_members(str(to), [str(day) for day in DAYS], ["both"])
    assert found is not None
    found = found.sort_values(["instrument", "datetime"], ignore_index=True)
    pd.testing.assert_frame_equal(found[["instrument", "datetime"]], scores[["instrument", "datetime"]])
    first = found["datetime"].dt.normalize().to_numpy("datetime64[D]").astype(int) % 7 + found["datetime"].dt.hour
    assert found["a"].tolist() == (first + found["instrument"].map({"B": 1, "D": 2})).tolist()
    assert found["b"].tolist() == (first + found["instrument"].map({"B": 0, "D": 2})).tolist()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scores", "scores.members"]


def test_what_another_ensemble_said_is_not_taken(tmp_path: Path) -> None:
    write(tmp_path / "scores", Says("AB", []), Says("AB", []))
    days = [str(day) for day in DAYS]
    assert read_members(str(tmp_path / "scores"), days, ["other"]) is None
    assert read_members(str(tmp_path / "elsewhere"), days, ["both"]) is None
    write(tmp_path / "scores", Says("AB", []), Says("AB", []), Says("AB", []), run_id="three", runs=("a", "b", "c"))
    found = read_members(str(tmp_path / "scores"), days, ["both", "three"])
    assert found is not None
    assert set(found.columns) == {"instrument", "datetime", "a", "b", "c"}


def test_one_run_has_no_members(tmp_path: Path) -> None:
    write(tmp_path / "scores", Says("AB", []), run_id="a", runs=("a",))
    assert [path.name for path in tmp_path.iterdir()] == ["scores"]


def test_members_are_there_before_the_date_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    publish = files.publish_bytes

    def noted(uri: str, *given: object, **options: object) -> None:
        order.append(uri)
        publish(uri, *given, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(files, "publish_bytes", noted)
    write(tmp_path / "scores", Says("AB", []), Says("AB", []))
    for day in DAYS[:3]:
        date = f"date={day}"
        assert next(uri for uri in order if date in uri) == members_uri(str(tmp_path / "scores"), str(day))
        assert len([uri for uri in order if date in uri]) == 2
    assert np.isfinite(read_scores(str(tmp_path / "scores"))["score"]).all()
