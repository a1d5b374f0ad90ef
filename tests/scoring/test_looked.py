"""What is looked at again after bars have changed: all that can be stale, and little else."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raybench.market.bars import Bars, open_bars
from raybench.market.bars_metadata import moment_of
from raybench.market.seen import SeenBars, Touch, days_reached, moved
from raybench.market.universe import Universe, universe_of_frame
from raybench.panel.rehashing import hash_bars
from raybench.panel.row_hashes import BARS, Reads
from raybench.scoring.looked import Looked, read_looked, write_looked
from raybench.scoring.made_from import date_hash
from tests.market.importing.worlds import DAYS, FIELDS, World, append, full, world

WAYS = [
    Reads(source=BARS, universe=universe, fields=tuple(FIELDS), window=window, lookback=lookback, compared=compared)
    for universe in ("pool", "all")
    for window, lookback, compared in ((1, 0, False), (4, 0, True), (3, 10, False))
]


def hashes_of(bars: Bars, reads: Reads) -> dict[str, str]:
    """What a footer would say of each day."""
    days = np.unique(bars.calendar.astype("datetime64[D]"))
    hashes = hash_bars(bars, reads, days)
    return {str(day): "" if hashes is None else date_hash(hashes, day, ()) for day in days}


def reached_by(ranges: tuple[Touch, ...] | None, bars: Bars, reads: Reads) -> set[str]:
    if ranges is None:
        return set(map(str, np.unique(bars.calendar.astype("datetime64[D]"))))
    return set(map(str, days_reached(ranges, bars.calendar, reads.window + reads.lookback)))


def again(seen: SeenBars) -> SeenBars:
    """The same after it has lain in a file."""
    return SeenBars.of_json(json.loads(json.dumps(seen.to_json())))


def restated(done: Any) -> dict[str, Touch]:
    return {name: (moment_of(when), moment_of(done.until[name])) for name, when in done.changed.items()}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 10_000),
    steps=st.lists(st.integers(30, 119), min_size=1, max_size=4),
    moments=st.sampled_from([1, 4]),
    late=st.floats(0.0, 0.9),
    calm=st.booleans(),
)
def test_every_day_that_reads_other_rows_is_among_those_that_are_reached(
    tmp_path_factory: pytest.TempPathFactory, seed: int, steps: list[int], moments: int, late: float, calm: bool
) -> None:
    """Splits, corrections, listings, pauses of any length, spans that are closed, a part of the newest day."""
    folder, known = tmp_path_factory.mktemp("looked"), world(seed, moments=moments)
    if calm:  # what is restated reaches so far that it hides all else
        known = replace(known, splits={}, corrections={})
    rng, before = np.random.default_rng(seed), DAYS[25]
    full(part_of(known.at(before), before, late, rng), pool(known, before), folder)
    bars = open_bars(folder / "bars")
    for step in sorted(steps):
        seen = again(SeenBars.of(bars, ["pool", "all"]))
        then = {reads: hashes_of(bars, reads) for reads in WAYS}
        day = DAYS[step]
        done = append(part_of(known.at(day), day, late, rng), pool(known, day), folder).appended
        assert done.before == bars.fingerprint
        bars = open_bars(folder / "bars")
        for reads in WAYS:
            now = hashes_of(bars, reads)
            others = {when for when, said in then[reads].items() if now[when] != said}
            assert others <= reached_by(seen.touched(bars), bars, reads)
            assert others <= reached_by(seen.touched(bars, restated(done)), bars, reads)
        assert SeenBars.of(bars, ["pool"]).touched(bars) == ()
        before = day


def pool(known: World, day: pd.Timestamp) -> dict[str, Universe]:
    """The members as they are known on a day: that one has come or gone shows four days later."""
    then = day - pd.Timedelta(days=4)
    spans = known.spans[(known.spans["start"] <= then) | (known.spans["instrument"] == "I0")].copy()
    spans["end"] = spans["end"].where(spans["end"] <= then)
    return {"pool": universe_of_frame("pool", spans)}


def part_of(rows: pd.DataFrame, day: pd.Timestamp, late: float, rng: np.random.Generator) -> pd.DataFrame:
    """Rows of which a share of the newest day's has not come yet."""
    newest = (rows["datetime"].dt.normalize() == day) & (rows["instrument"] != "I0")
    return rows[~(newest & (rng.random(len(rows)) < late))]


@pytest.fixture
def rows() -> pd.DataFrame:
    """Five instruments with a bar on each of 120 days."""
    parts = [
        pd.DataFrame({"instrument": f"I{i}", "datetime": DAYS, **dict.fromkeys(FIELDS, 10.0 + i)}) for i in range(5)
    ]
    return pd.concat(parts, ignore_index=True)


def touched(folder: Path, first: pd.DataFrame, then: pd.DataFrame, *, alone: bool = False) -> list[tuple[str, str]]:
    """The ranges, as dates, that an append touches; ``alone``: and what it restated is known."""
    full(first, {}, folder)
    seen = SeenBars.of(open_bars(folder / "bars"), ["all"])
    done = append(then, {}, folder).appended
    found = seen.touched(open_bars(folder / "bars"), restated(done) if alone else None)
    assert found is not None
    return [(str(first)[:10], str(last)[:10]) for first, last in found]


def at(day: int) -> str:
    return str(DAYS[day].date())


@pytest.mark.parametrize("alone", [True, False])
def test_a_new_date_touches_itself_alone(rows: pd.DataFrame, tmp_path: Path, alone: bool) -> None:
    first = rows[rows["datetime"] < DAYS[100]]
    assert touched(tmp_path, first, rows[rows["datetime"] == DAYS[100]], alone=alone) == [(at(100), at(100))]


def test_rows_that_are_late_touch_their_date(rows: pd.DataFrame, tmp_path: Path) -> None:
    late = (rows["datetime"] == DAYS[100]) & (rows["instrument"] > "I2")
    first = rows[(rows["datetime"] <= DAYS[100]) & ~late]
    assert touched(tmp_path, first, rows[rows["datetime"] == DAYS[100]]) == [(at(100), at(100))]


def test_one_that_was_suspended_and_trades_again_touches_what_was_not_read_for_it(
    rows: pd.DataFrame, tmp_path: Path
) -> None:
    """Rows of NaN follow its last one on eight dates; on those behind there were none."""
    gone = (rows["instrument"] == "I3") & (rows["datetime"] >= DAYS[80])
    for back, expected in ((88, [(at(88), at(88))]), (100, [(at(88), at(99)), (at(100), at(100))])):
        folder = tmp_path / str(back)
        folder.mkdir()
        there = rows[~(gone & (rows["datetime"] < DAYS[back]))]
        first, then = there[there["datetime"] < DAYS[back]], there[there["datetime"] == DAYS[back]]
        assert touched(folder, first, then) == expected


def test_a_corrected_bar_touches_its_date_where_that_is_known_else_the_history(
    rows: pd.DataFrame, tmp_path: Path
) -> None:
    other = rows.copy()
    other.loc[(rows["instrument"] == "I1") & (rows["datetime"] == DAYS[40]), "close"] += 1
    for alone, expected in ((True, [(at(40), at(40))]), (False, [(at(0), at(119))])):
        folder = tmp_path / str(alone)
        folder.mkdir()
        assert touched(folder, rows, other, alone=alone) == expected


def test_a_new_instrument_touches_its_history(rows: pd.DataFrame, tmp_path: Path) -> None:
    late = (rows["instrument"] == "I4") & (rows["datetime"] < DAYS[30])
    first = rows[(rows["instrument"] != "I4") & (rows["datetime"] < DAYS[119])]
    assert touched(tmp_path, first, rows[~late]) == [(at(30), at(118)), (at(119), at(119))]


def test_spans_that_move_touch_what_lies_between() -> None:
    def us(day: int) -> int:
        return int(DAYS[day].value // 1000)

    before = (("A", us(0), us(50)), ("B", us(0), us(119)), ("C", us(3), us(9)))
    now = (("A", us(0), us(40)), ("B", us(10), us(119)), ("D", us(70), us(119)))
    found = sorted((str(first)[:10], str(last)[:10]) for first, last in moved(before, now, us(60)))
    assert found == [(at(0), at(10)), (at(3), at(9)), (at(40), at(50))]


def test_what_was_looked_at_is_found_again(rows: pd.DataFrame, tmp_path: Path) -> None:
    full(rows, {}, tmp_path)
    bars = open_bars(tmp_path / "bars")
    looked = Looked(bars=SeenBars.of(bars, ["all"]), concepts=("hash", (("I1\tx", 1, 2),)), reach=30)
    scores = str(tmp_path / "scores")
    assert read_looked(scores) is None
    write_looked(scores, looked)
    assert read_looked(scores) == looked
    (tmp_path / "scores.looked.json").write_text('{"version": 1}')
    assert read_looked(scores) is None
