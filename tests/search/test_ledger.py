"""The table of trials: written, read again, refused when damaged, sorted by what counts."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
import pytest

from raybench.errors import RunError
from raybench.search.ledger import DONE, FAILED, RUNNING, STOPPED, Ledger, TrialRecord

KEYS = ["model.hidden_size", "train.lr", "model.type"]


def filled(folder: Path, mode: str = "max") -> Ledger:
    ledger = Ledger.opened(str(folder), KEYS, mode)
    for number, (status, metric) in enumerate([(DONE, 0.02), (STOPPED, 0.05), (FAILED, math.nan), (RUNNING, 0.01)]):
        values = {"model.hidden_size": 4 + number, "train.lr": 0.1, "model.type": "gru"} if number else {"train.lr": 1}
        facts = {"error": "it diverged"} if status == FAILED else {"best_epoch": 1, "epochs": 2}
        ledger.put(TrialRecord(number=number, values=values, status=status, metric=metric, **facts))
    return ledger


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    ledger = filled(tmp_path)
    ledger.on_data({"a": "1"})
    ledger.publish()
    again = Ledger.opened(str(tmp_path), KEYS, "max")
    assert repr(again.records) == repr(ledger.records)  # NaN is not equal to itself
    assert set(again.ended()) == {0, 1, 2}
    with pytest.raises(RunError, match="other data"):
        again.on_data({"a": "2"})
    table = pd.read_parquet(tmp_path / "trials.parquet")
    assert list(table["trial_id"]) == ["0001", "0000", "0003", "0002"]
    assert list(table.columns) == [
        *("trial_id", "status", "epochs", "metric", *KEYS),
        *("best_epoch", "seconds", "stopped_epoch", "tries", "error"),
    ]
    assert table["model.hidden_size"].tolist()[:1] == [5]
    assert pd.isna(table["model.hidden_size"][1])
    assert table["error"].dropna().tolist() == ["it diverged"]


def test_the_best_is_the_largest_or_smallest_and_never_a_nan(tmp_path: Path) -> None:
    best = filled(tmp_path).best()
    assert best is not None
    assert best.number == 1
    least, done = filled(tmp_path, "min").best(), filled(tmp_path).best(DONE)
    assert least is not None
    assert done is not None
    assert (least.number, done.number) == (3, 0)
    assert Ledger.opened(str(tmp_path / "none"), KEYS, "max").best() is None


def test_a_trial_that_was_lost_is_worth_another_try(tmp_path: Path) -> None:
    ledger = filled(tmp_path)
    ledger.change(2, lost=True)
    assert set(ledger.ended()) == {0, 1}


def test_another_table_is_refused(tmp_path: Path) -> None:
    pd.DataFrame({"trial_id": ["0000"]}).to_parquet(tmp_path / "trials.parquet")
    with pytest.raises(RunError, match="no table of trials"):
        Ledger.opened(str(tmp_path), KEYS, "max")


@pytest.mark.parametrize("damage", ["a bit", "cut", "empty"])
def test_a_damaged_one_may_be_removed(tmp_path: Path, damage: str) -> None:
    filled(tmp_path).publish()
    file = tmp_path / "trials.parquet"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes({"a bit": bytes(data), "cut": bytes(data[:-20]), "empty": b""}[damage])
    with pytest.raises(
        RunError, match=r"trials\.parquet: .*; remove it and go on with --resume, by the checkpoints of"
    ):
        Ledger.opened(str(tmp_path), KEYS, "max")
    file.unlink()
    assert not Ledger.opened(str(tmp_path), KEYS, "max").records
