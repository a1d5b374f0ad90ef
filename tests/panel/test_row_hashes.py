"""The hash of the rows of a day: of exactly those, whatever else was read and however it was cut."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from raybench.market.bars import BarBlock
from raybench.panel.row_hashes import BARS, SECOND, Hashing, Reads, RowHashes, joined_hashes

DAYS = pd.bdate_range("2020-01-01", periods=40)
NAMES = ("A", "B", "C")


def market() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        [{"instrument": name, "datetime": day} for name in NAMES for day in DAYS if name != "C" or day >= DAYS[20]]
    )
    return frame.assign(open=rng.random(len(frame)), close=rng.random(len(frame)))


def hashes(
    frame: pd.DataFrame, days: Any = (30,), members: Any = None, since: int = 0, **reads: Any
) -> dict[tuple[str, str], int]:
    found = hashed(frame, days, members, since, **reads)
    return {(str(day), name): int(value) for day in found.days for name, value in zip(*found.of(day)[:2], strict=True)}


def hashed(frame: pd.DataFrame, days: Any, members: Any = None, since: int = 0, **reads: Any) -> RowHashes:
    block = BarBlock.from_frame(frame)
    asked = Reads(**{"source": BARS, "fields": ("open", "close"), "window": 3, "lookback": 2, **reads})
    calendar = np.unique(block.datetime_R)
    wanted = DAYS[list(days)].to_numpy().astype("datetime64[D]")
    member_R = np.ones(block.rows, bool) if members is None else members(block)
    if since:
        kept = block.since(DAYS[since].to_numpy())
        member_R, block = member_R[block.datetime_R >= DAYS[since].to_numpy()], kept
    return Hashing.of(asked, wanted, calendar).block(block, member_R)


@pytest.mark.parametrize(("back", "changes"), [(0, True), (4, True), (5, False), (-1, False)])
def test_the_rows_of_the_window_and_of_what_its_features_look_back_on_count(back: int, changes: bool) -> None:
    """A window of 3 rows that each look 2 back: five rows up to the day."""
    frame, before = market(), hashes(market())
    frame.loc[(frame["instrument"] == "A") & (frame["datetime"] == DAYS[30 - back]), "close"] += 1
    after = hashes(frame)
    day = str(DAYS[30].date())
    assert (before[day, "A"] != after[day, "A"]) == changes
    assert before[day, "B"] == after[day, "B"]


def test_what_else_is_read_does_not_matter() -> None:
    alone = {}
    for day in (10, 21, 22, 30, 39):
        alone |= hashes(market(), (day,), since=max(day - 4, 0))
    assert hashes(market(), (10, 21, 22, 30, 39)) == alone
    assert hashes(market().query("datetime <= @DAYS[30]"), (30,)) == hashes(market(), (30,))


def test_instruments_may_be_hashed_in_parts() -> None:
    whole = hashed(market(), (21, 30))
    parts = [hashed(market()[market()["instrument"] == name], (21, 30)) for name in ("B", "A")]
    rest = hashed(market()[market()["instrument"] != "A"], (21, 30))  # its calendar is the whole one
    joined = joined_hashes([parts[1], rest])
    assert joined is not None
    for day in whole.days:
        for ours, theirs in zip(joined.of(day), whole.of(day), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_a_field_that_is_not_read_does_not_count_and_one_that_is_not_there_is_nan() -> None:
    frame = market()
    assert hashes(frame, fields=("close",)) == hashes(frame.assign(open=1.0), fields=("close",))
    without = hashes(frame, fields=("close", "vwap"))
    assert without == hashes(frame.assign(vwap=np.nan), fields=("close", "vwap"))
    assert without != hashes(frame.assign(vwap=1.0), fields=("close", "vwap"))
    assert hashes(frame.assign(open=0.0)) == hashes(frame.assign(open=-0.0))


def test_who_is_a_member_counts_and_rows_before_are_those_of_the_first_members_row() -> None:
    def joins(at: int) -> Any:
        return lambda block: block.datetime_R >= DAYS[at].to_numpy()

    assert hashes(market(), members=joins(29)) != hashes(market(), members=joins(28))
    assert hashes(market(), members=joins(28)) == hashes(market(), members=joins(10))
    assert hashes(market(), members=joins(31)) == {}
    frame = market()
    frame.loc[frame["datetime"] == DAYS[26], "close"] += 1  # 27 is the oldest that row 29 looks back on
    assert hashes(market(), members=joins(29)) == hashes(frame, members=joins(29))
    assert hashes(market(), members=joins(28)) != hashes(frame, members=joins(28))


def test_who_was_there_within_the_window_counts_only_where_instruments_are_compared() -> None:
    def left(block: BarBlock) -> Any:
        return (block.code_R != 1) | (block.datetime_R <= DAYS[29].to_numpy())

    alone, compared = hashed(market(), (30,), left), hashed(market(), (30,), left, compared=True)
    assert list(alone.of(alone.days[0])[0]) == ["A", "C"]
    names, _, scored = compared.of(compared.days[0])
    assert list(zip(names, scored.tolist(), strict=True)) == [("A", True), ("B", False), ("C", True)]


def test_a_window_of_everything() -> None:
    frame = market()
    frame.loc[0, "close"] += 1
    assert hashes(market(), window=0) != hashes(frame, window=0)
    assert hashes(market(), window=0) == hashes(market().query("datetime <= @DAYS[30]"), window=0)


def test_a_day_of_several_moments_reads_all_of_them() -> None:
    frame = market().assign(
        datetime=lambda f: [
            DAYS[0] + pd.Timedelta(hours=i % 4) + pd.Timedelta(days=i // 4) for i in f.groupby("instrument").cumcount()
        ]
    )
    day = (DAYS[0] + pd.Timedelta(days=5)).to_numpy().astype("datetime64[D]")

    def of(frame: pd.DataFrame) -> list[int]:
        block = BarBlock.from_frame(frame)
        reads = Reads(source=BARS, fields=("close",), window=2, lookback=1)
        plan = Hashing.of(reads, np.array([day]), np.unique(block.datetime_R))
        return plan.block(block, np.ones(block.rows, bool)).of(day)[1].tolist()

    for row, changes in ((17, False), (18, True), (23, True), (24, False)):
        changed = frame.copy()
        changed.loc[row, "close"] += 1  # of A, four moments a day
        assert (of(changed)[0] != of(frame)[0]) == changes, row


def test_what_is_known_by_the_end_of_the_day_counts_for_a_second_window() -> None:
    frame = market()
    block = BarBlock.from_frame(frame)
    calendar = np.unique(block.datetime_R)
    reads = Reads(source=SECOND, fields=("close",), window=2, lookback=0)
    plan = Hashing.of(reads, np.array([calendar[31]], "datetime64[D]"), calendar, calendar + np.timedelta64(30, "h"))
    before = plan.block(block, np.ones(block.rows, bool)).of(plan.days[0])[1]
    for back, changes in ((0, False), (1, True), (2, True), (3, False)):
        changed = frame.copy()
        changed.loc[changed["datetime"] == DAYS[31 - back], "close"] += 1
        block = BarBlock.from_frame(changed)
        after = plan.block(block, np.ones(block.rows, bool)).of(plan.days[0])[1]
        assert bool((before != after).all()) == changes, back


def test_reads_come_back() -> None:
    reads = Reads(source=SECOND, universe="all", fields=("close",), window=3, lookback=4, compared=True, lag_minutes=5)
    assert Reads.of_json(reads.to_json(), where="here") == reads
