"""Appending to bars: what is there afterwards is what one import of everything would have made."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raybench.errors import DataError
from raybench.market.bars import open_bars
from raybench.market.importing.append import append_bars, compact_bars
from raybench.market.importing.job import import_bars
from raybench.market.sources import open_source
from raybench.market.universe import universe_of_frame
from raybench.storage import claims, files
from tests.killed import Steps, killed_at
from tests.market.importing.worlds import (
    DAYS,
    FIELDS,
    KEEP_ALL,
    append,
    assert_same_content,
    files_of,
    flat,
    full,
    provider,
    world,
)

pytestmark = pytest.mark.usefixtures("small_files")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 10_000),
    steps=st.lists(st.integers(30, 119), min_size=1, max_size=6),
    delivery=st.sampled_from(["whole", "newest", "windows"]),
    default=st.booleans(),
)
def test_appended_bars_are_those_of_one_import(
    tmp_path_factory: pytest.TempPathFactory, seed: int, steps: list[int], delivery: str, default: bool
) -> None:
    """Histories as they are delivered day by day, whole, or as the newest dates with the whole history of who changed.

    Of those who were corrected it may be the bar alone, however old: a window of its own.
    """
    folder, known = tmp_path_factory.mktemp("append"), world(seed)
    before = DAYS[25]
    full(known.at(before), known.universe(before), folder)
    for step in sorted(steps):
        day = DAYS[step]
        rows = known.at(day)
        if delivery != "whole":
            whole = {n for n, when in known.splits.items() if before < when <= day}
            bars = [bar for bar, when in known.corrections.items() if before < when <= day]
            whole |= {name for name, _ in bars} if delivery == "newest" else set()
            sent = (rows["datetime"] > DAYS[max(DAYS.get_loc(before) - 3, 0)]) | rows["instrument"].isin(whole)
            for name, of in bars:
                sent |= (rows["instrument"] == name) & (rows["datetime"] == of)
            rows = rows[sent]
        try:
            append(rows, known.universe(day), folder, rules=None if default else KEEP_ALL)
        except DataError as refused:  # a date on which most happen to be suspended
            if not default or "hardly anybody has a bar" not in str(refused):
                raise
            append(rows, known.universe(day), folder)
        before = day
    everything = folder / "at once"
    full(known.at(before), known.universe(before), everything)
    assert_same_content(open_bars(folder / "bars"), open_bars(everything / "bars"))
    files = files_of(folder / "bars")
    assert not append(rows, known.universe(before), folder).changed
    assert files_of(folder / "bars") == files
    compact_bars(folder / "bars")
    assert open_bars(folder / "bars").files == open_bars(everything / "bars").files
    assert_same_content(open_bars(folder / "bars"), open_bars(everything / "bars"))
    assert not compact_bars(folder / "bars").changed


def test_minute_bars_go_the_same_way(tmp_path: Path) -> None:
    known = world(3, instruments=4, moments=4)
    full(known.at(DAYS[30]), known.universe(DAYS[30]), tmp_path)
    for step in (31, 45, 46):
        append(known.at(DAYS[step]), known.universe(DAYS[step]), tmp_path)
    day = known.at(DAYS[47])
    half = day[day["datetime"] <= DAYS[47] + pd.Timedelta(hours=10)]  # the day as it is at noon, then whole
    for rows in (half, day):
        append(rows, known.universe(DAYS[47]), tmp_path)
    full(day, known.universe(DAYS[47]), tmp_path / "once")
    assert open_bars(tmp_path / "bars").frequency == "60min"
    assert_same_content(open_bars(tmp_path / "bars"), open_bars(tmp_path / "once" / "bars"))


def test_what_was_restated_is_named_with_its_date_and_others_keep_their_files(tmp_path: Path) -> None:
    rows = flat(8, 60)
    full(rows, {}, tmp_path)
    before = {file.name for file in open_bars(tmp_path / "bars").files}
    split = rows.copy()
    split.loc[(split["instrument"] == "I3") & (split["datetime"] < DAYS[50]), FIELDS[:4]] /= 2
    split.loc[(split["instrument"] == "I5") & (split["datetime"] == DAYS[20]), "close"] += 1
    done = append(split, {}, tmp_path)
    assert done.changed
    assert done.appended.changed == {"I3": str(DAYS[0].date()), "I5": str(DAYS[20].date())}
    assert (done.appended.dates, done.appended.new, done.appended.rows) == (0, (), 0)
    bars = open_bars(tmp_path / "bars")
    after = {file.name: file.instruments for file in bars.files}
    assert before & after.keys()
    assert not [name for name, held in after.items() if name in before and {"I3", "I5"} & set(held)]
    full(split, {}, tmp_path / "once")
    assert_same_content(bars, open_bars(tmp_path / "once" / "bars"))


@pytest.mark.parametrize("overlap", [1, 5])
def test_a_restated_price_whose_older_bars_are_not_there_is_refused(tmp_path: Path, overlap: int) -> None:
    rows = flat(6, 60)
    full(rows[rows["datetime"] < DAYS[58]], {}, tmp_path)
    before = files_of(tmp_path / "bars")
    new = rows[rows["datetime"] >= DAYS[58 - overlap]].copy()
    new.loc[(new["instrument"] == "I2") & (new["datetime"] < DAYS[58]), FIELDS[:4]] /= 2
    with pytest.raises(DataError, match=r"prices of 1 instrument are restated.*I2 from 2020-0.*whole history"):
        append(new, {}, tmp_path)
    assert files_of(tmp_path / "bars") == before
    whole = rows[(rows["instrument"] == "I2") | (rows["datetime"] >= DAYS[57])].copy()
    whole.loc[(whole["instrument"] == "I2") & (whole["datetime"] < DAYS[58]), FIELDS[:4]] /= 2
    assert append(whole, {}, tmp_path).appended.changed == {"I2": str(DAYS[0].date())}


def test_a_corrected_bar_needs_no_history(tmp_path: Path) -> None:
    rows = flat(6, 60)
    full(rows[rows["datetime"] < DAYS[59]], {}, tmp_path)
    new = rows[rows["datetime"] >= DAYS[58]].copy()
    new.loc[(new["instrument"] == "I2") & (new["datetime"] == DAYS[58]), ["close", "volume"]] = [12.25, 250.0]
    done = append(new, {}, tmp_path)
    assert done.appended.changed == {"I2": str(DAYS[58].date())}
    assert open_bars(tmp_path / "bars").block(["I2"], ["close"]).fields["close"][58] == 12.25


def test_bars_before_the_first_are_history_that_is_other_now(tmp_path: Path) -> None:
    rows = flat(6, 60)
    recent = rows[(rows["datetime"] >= DAYS[10]) | (rows["instrument"] == "I0")]
    full(recent, {}, tmp_path)
    done = append(rows, {}, tmp_path)
    assert done.appended.changed == {f"I{i}": str(DAYS[0].date()) for i in range(1, 6)}
    full(rows, {}, tmp_path / "once")
    assert_same_content(open_bars(tmp_path / "bars"), open_bars(tmp_path / "once" / "bars"))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"frequency": "5min"}, r"has the frequency 5min, and the bars at .* have day"),
        ({"adjust": "factor"}, r"--adjust factor: the bars at .* were not adjusted by a field"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, change: dict[str, str], says: str) -> None:
    rows = flat(6, 40).assign(factor=1.0)
    full(rows[rows["datetime"] < DAYS[30]], {}, tmp_path)
    with pytest.raises(DataError, match=says):
        append(rows, {}, tmp_path, **change)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="has no field factor, which the bars at"):
        append(rows.drop(columns="factor"), {}, tmp_path)


def test_adjusted_bars_are_appended_as_they_were_adjusted(tmp_path: Path) -> None:
    rows = flat(6, 60).assign(factor=lambda f: 1 + (f["datetime"] >= DAYS[40]) * 0.5)
    full(rows[rows["datetime"] < DAYS[50]], {}, tmp_path, adjust="factor")
    append(rows[rows["datetime"] >= DAYS[45]], {}, tmp_path)
    full(rows, {}, tmp_path / "once", adjust="factor")
    assert_same_content(open_bars(tmp_path / "bars"), open_bars(tmp_path / "once" / "bars"))


def test_a_dataset_of_the_version_before_is_appended_to(tmp_path: Path) -> None:
    rows = flat(6, 60)
    full(rows[rows["datetime"] < DAYS[50]], {}, tmp_path)
    as_version_1(tmp_path / "bars")
    append(rows[rows["datetime"] >= DAYS[48]], {}, tmp_path)
    full(rows, {}, tmp_path / "once")
    assert_same_content(open_bars(tmp_path / "bars"), open_bars(tmp_path / "once" / "bars"))


def as_version_1(bars: Path) -> None:
    """What metadata was before it told of instruments."""
    content = json.loads((bars / "metadata.json").read_text())
    for key in ("histories", "given", "slices", "sha256"):
        del content[key]
    text = json.dumps({**content, "schema_version": 1})
    (bars / "metadata.json").write_text(text)


def test_an_append_where_nothing_is_makes_the_dataset(tmp_path: Path) -> None:
    rows = flat(6, 60)
    rows.to_parquet(tmp_path / "rows.parquet")
    done = append_bars(open_source(tmp_path / "rows.parquet"), tmp_path / "bars")
    assert done.changed
    assert (done.appended.rows, done.appended.dates, done.appended.first) == (360, 60, str(DAYS[0].date()))
    assert done.appended.new == tuple(f"I{i}" for i in range(6))
    assert open_bars(tmp_path / "bars").metadata.rows == 360


def test_files_are_joined_once_there_are_many_of_them(tmp_path: Path) -> None:
    rows = flat(6, 60)
    full(rows[rows["datetime"] < DAYS[50]], {}, tmp_path)
    joined, slices = [], []
    for k in range(50, 56):
        joined.append(append(rows[rows["datetime"] == DAYS[k]], {}, tmp_path).appended.joined)
        slices.append(open_bars(tmp_path / "bars").metadata.slices)
    assert joined == [False, False, True, False, True, False]
    assert slices == [1, 2, 1, 2, 1, 2]


def test_fields_that_only_the_source_has_are_named(tmp_path: Path) -> None:
    rows = flat(6, 60)
    full(rows[rows["datetime"] < DAYS[58]], {}, tmp_path)
    more = rows[rows["datetime"] >= DAYS[57]].assign(pe=1.0, turnover=2.0)
    done = append(more, {}, tmp_path)
    assert done.warnings == (
        "2 fields left out, for the bars have no pe, turnover: import the whole history again to have them, or leave "
        "them out with --columns pe=,turnover=",
    )
    assert open_bars(tmp_path / "bars").fields == tuple(FIELDS)
    assert append(rows[rows["datetime"] >= DAYS[57]], {}, tmp_path).warnings == ()


def test_spans_given_hold_from_their_first_start_on(tmp_path: Path) -> None:
    rows = flat(6, 60)
    spans = pd.DataFrame({"instrument": ["I0", "I1", "I2"], "start": DAYS[0], "end": [pd.NaT, pd.NaT, DAYS[9]]})
    full(rows, {"pool": universe_of_frame("pool", spans)}, tmp_path)
    more = pd.DataFrame({"instrument": ["I1", "I2", "I5"], "start": [DAYS[0], DAYS[20], DAYS[20]]})
    done = append(rows, {"pool": universe_of_frame("pool", more.assign(end=[DAYS[19], pd.NaT, pd.NaT]))}, tmp_path)
    assert done.changed
    got = open_bars(tmp_path / "bars").listed("pool").to_frame()
    assert [tuple(row) for row in got.astype(str).fillna("NaT").to_numpy()] == [
        ("I0", "2020-01-06", "NaT"),
        ("I1", "2020-01-06", "2020-01-31"),
        ("I2", "2020-01-06", "2020-01-17"),
        ("I2", "2020-02-03", "NaT"),
        ("I5", "2020-02-03", "NaT"),
    ]


def test_an_append_that_dies_at_any_step_leaves_the_old_or_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = flat(6, 60)
    full(rows[rows["datetime"] < DAYS[56]], {}, tmp_path)
    for k in (56, 57):
        append(rows[rows["datetime"] == DAYS[k]], {}, tmp_path)
    shutil.copytree(tmp_path / "bars", tmp_path / "old")
    new = rows[rows["datetime"] >= DAYS[57]].copy()
    new.loc[(new["instrument"] == "I2") & (new["datetime"] == DAYS[57]), "close"] = 12.25  # and files are joined
    steps = Steps()
    with monkeypatch.context() as patch:
        patch.setattr(files, "_checkpoint", steps)
        append(new, {}, tmp_path)
    fingerprints = {open_bars(tmp_path / name).fingerprint for name in ("old", "bars")}
    assert len(fingerprints) == 2
    wanted = open_bars(tmp_path / "bars")
    for fatal in range(0, steps.count, 3):
        shutil.rmtree(tmp_path / "again", ignore_errors=True)
        shutil.copytree(tmp_path / "old", tmp_path / "again" / "bars")
        with killed_at(fatal):
            append(new, {}, tmp_path / "again")
        open_bars(tmp_path / "again" / "bars").block()
        assert open_bars(tmp_path / "again" / "bars").fingerprint in fingerprints
        append(new, {}, tmp_path / "again")
        assert_same_content(open_bars(tmp_path / "again" / "bars"), wanted)


def test_of_two_appends_one_is_done_and_the_other_says_so(tmp_path: Path) -> None:
    rows = flat(6, 60)
    full(rows[rows["datetime"] < DAYS[58]], {}, tmp_path)
    before = files_of(tmp_path / "bars")
    with (
        claims.held(tmp_path / "bars", what="import"),
        pytest.raises(DataError, match="is being written by `raybench import`"),
    ):
        append(rows, {}, tmp_path)
    assert files_of(tmp_path / "bars") == before


@pytest.mark.parametrize("seed", [0, 4, 7])
def test_a_provider_that_grows_is_as_one_import_of_it(tmp_path: Path, seed: int) -> None:
    known = world(seed)
    import_bars(open_source(provider(tmp_path / "p0", known.at(DAYS[40]), DAYS[40])), tmp_path / "bars")
    for step in (41, 42, 60, 90):
        here = provider(tmp_path / f"p{step}", known.at(DAYS[step]), DAYS[step])
        append_bars(open_source(here), tmp_path / "bars")
        once = tmp_path / f"once{step}"
        import_bars(open_source(here), once)
        assert_same_content(open_bars(tmp_path / "bars"), open_bars(once))


def test_daily_bars_with_another_clock_are_refused(tmp_path: Path) -> None:
    rows = flat(6, 60)
    full(rows[rows["datetime"] < DAYS[58]], {}, tmp_path)
    new = rows[rows["datetime"] >= DAYS[57]].assign(datetime=lambda f: f["datetime"] + pd.Timedelta(hours=15))
    with pytest.raises(DataError, match=r"daily bars at 15:00:00, and those at .*bars are at 00:00:00"):
        append(new, {}, tmp_path)


def test_names_that_lost_their_zeros_are_refused(tmp_path: Path) -> None:
    rows = flat(2, 30).assign(instrument=lambda f: f["instrument"].map({"I0": "000001", "I1": "SH600000"}))
    full(rows[rows["datetime"] < DAYS[25]], {}, tmp_path)
    before = files_of(tmp_path / "bars")
    late = rows[rows["datetime"] >= DAYS[25]]
    for theirs in ({"000001": "1"}, {"SH600000": "600000.SH"}, {"SH600000": "600000"}):
        with pytest.raises(DataError, match=r"spells 1 instrument of the bars at .* otherwise \(.* for .*zfill"):
            append(late.assign(instrument=late["instrument"].replace(theirs)), {}, tmp_path)
    assert files_of(tmp_path / "bars") == before
    both = pd.concat([late, late[late["instrument"] == "000001"].assign(instrument="1")])
    assert append(both, {}, tmp_path).appended.new == ("1",)
