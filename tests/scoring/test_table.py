"""The score table: what is written is what everybody reads, a date wholly or not at all."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest

from raybench.errors import DataError
from raybench.scoring.table import SCHEMA, date_uri, dates, read_scores, scored_dates, write_date
from raybench.storage import files

DAYS = ("2020-01-02", "2020-01-03", "2020-01-06")


def scores(day: str, names: int = 6, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "instrument": rng.permutation([f"I{k}" for k in range(names)]),
            "datetime": pd.Timestamp(day),
            "score": rng.standard_normal(names).astype(np.float32),
        }
    )


@pytest.fixture
def table(tmp_path: Path) -> str:
    uri = str(tmp_path / "scores")
    for seed, day in enumerate(DAYS):
        write_date(uri, day, scores(day, seed=seed), "run-a", {"coverage": 0.5 + seed / 10, "universe": "demo"})
    return uri


def test_file_follows_the_contract(table: str) -> None:
    file = pq.read_table(date_uri(table, DAYS[0]), partitioning=None)
    assert file.schema.remove_metadata() == SCHEMA
    frame = file.to_pandas()
    assert frame["instrument"].is_monotonic_increasing
    assert frame.sort_values("rank")["score"].is_monotonic_decreasing
    assert sorted(frame["rank"]) == list(range(1, 7))
    assert (frame["run_id"] == "run-a").all()


def test_ties_are_ranked_by_instrument(tmp_path: Path) -> None:
    frame = scores(DAYS[0]).assign(score=[1, 0, 1, 0, 1, 0])
    write_date(str(tmp_path / "s"), DAYS[0], frame, "r")
    ranked = read_scores(str(tmp_path / "s")).sort_values("rank")
    expected = frame.sort_values(["score", "instrument"], ascending=[False, True])
    assert list(ranked["instrument"]) == list(expected["instrument"])


def test_several_datetimes_in_a_day_are_ranked_apart(tmp_path: Path) -> None:
    parts = [scores(f"2020-01-02 {hour}:00", seed=hour) for hour in (10, 11)]
    write_date(str(tmp_path / "s"), "2020-01-02", pd.concat(parts), "r")
    back = read_scores(str(tmp_path / "s"))
    for _, group in back.groupby("datetime"):
        assert list(group.sort_values("rank")["score"]) == sorted(group["score"], reverse=True)


def test_everybody_reads_the_folder(table: str) -> None:
    ours = read_scores(table)
    with_pandas = pd.read_parquet(table)
    with_arrow = pads.dataset(table, partitioning="hive").to_table().to_pandas()
    for theirs in (with_pandas, with_arrow):
        assert theirs["date"].astype(str).unique().tolist() == list(DAYS)
        theirs = theirs.sort_values(["datetime", "instrument"], ignore_index=True)
        pd.testing.assert_frame_equal(theirs[ours.columns], ours)


def test_range_is_inclusive_and_facts_come_back(table: str) -> None:
    assert read_scores(table, start=DAYS[1], end=DAYS[1])["datetime"].unique() == [pd.Timestamp(DAYS[1])]
    facts = scored_dates(table)
    assert list(facts) == [date.fromisoformat(day) for day in DAYS] == dates(table)
    first = facts[date(2020, 1, 2)]
    assert (first.run_id, first.rows, first.coverage, first.extra["universe"]) == ("run-a", 6, 0.5, "demo")


def test_equal_scores_give_equal_bytes_in_any_row_order(tmp_path: Path) -> None:
    frame = scores(DAYS[0])
    for name, rows in (("a", frame), ("b", frame.iloc[::-1])):
        write_date(str(tmp_path / name), DAYS[0], rows, "r", {"coverage": 1.0})
    first, second = (files.read_bytes(date_uri(str(tmp_path / n), DAYS[0])) for n in "ab")
    assert first == second


def test_a_failed_write_leaves_the_old_date_and_no_litter(table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = read_scores(table)

    def fail_at(name: str) -> None:
        def checkpoint(step: str, uri: str) -> None:
            if step == name:
                raise OSError("disk gone")

        monkeypatch.setattr(files, "_checkpoint", checkpoint)

    for step in ("stage", "write", "sync", "rename"):
        fail_at(step)
        with pytest.raises(OSError, match="disk gone"):
            write_date(table, DAYS[0], scores(DAYS[0], seed=9), "run-b")
        pd.testing.assert_frame_equal(read_scores(table), before)
        assert {p.name for p in Path(table).rglob("*") if p.is_file()} == {"scores.parquet"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda f: f.drop(columns="score"), "no column score"),
        (lambda f: f.iloc[:0], "no instrument"),
        (lambda f: f.assign(score=np.nan), "NaN or infinite"),
        (lambda f: f.assign(instrument="X"), "twice"),
        (lambda f: f.assign(datetime=pd.Timestamp("2020-01-07")), "want that date only"),
    ],
)
def test_what_cannot_be_a_date_of_scores_is_refused(tmp_path: Path, change: object, says: str) -> None:
    with pytest.raises(DataError, match=says):
        write_date(str(tmp_path / "s"), DAYS[0], change(scores(DAYS[0])), "r")  # type: ignore[operator]
    assert not (tmp_path / "s").exists()


def test_empty_ranges_and_missing_tables_say_what_is_there(table: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds 2020-01-02 to 2020-01-06"):
        read_scores(table, start="2021-01-01")
    with pytest.raises(DataError, match="nothing here"):
        read_scores(str(tmp_path / "nowhere"))


def test_a_plain_parquet_file_of_scores_is_read_too(tmp_path: Path) -> None:
    scores(DAYS[0]).to_parquet(tmp_path / "theirs.parquet")
    assert len(read_scores(str(tmp_path / "theirs.parquet"))) == 6


def test_many_writers_share_a_table(tmp_path: Path) -> None:
    """The staging folder comes and goes under their hands."""
    uri = str(tmp_path / "scores")
    frames = {f"2020-01-{day:02d}": scores(f"2020-01-{day:02d}") for day in range(1, 31)}
    for _ in range(2):
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda item: write_date(uri, item[0], item[1], "r"), frames.items()))
    assert [str(day) for day in dates(uri)] == list(frames)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scores"]
