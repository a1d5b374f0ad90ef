"""What scores depend on: not on where features come from, nor on anything later than their date."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from raybench.cli.app import run as command
from raybench.cluster.jobs.features import write_features as build_features
from raybench.cluster.jobs.scoring import score
from raybench.config import Config, load_config
from raybench.errors import DataError
from raybench.feature_sets import alpha158, alpha360
from raybench.market.bars import BarBlock, Bars, open_bars
from raybench.market.importing.job import import_bars
from raybench.market.sources import memory_source
from raybench.scoring.table import read_scores
from tests.cluster.scored import bytes_of, days_of, import_frame, tables_of
from tests.small import write_concepts

MakeConfig = Callable[..., Config]
MakeRun = Callable[[Config], str]

START, T = "2015-11-02", "2015-11-20"
SETS = {
    "alpha158": {},
    "alpha360": {"data__feature_set": "{type: alpha360}", "data__step_len": 60},
    "by date": {"data__processors__infer": "[{class: CSZScoreNorm, kwargs: {fields_group: feature}}, {class: Fillna}]"},
}


@pytest.fixture(scope="module")
def alpha158_table(market_bars: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    to = str(tmp_path_factory.mktemp("features") / "features")
    build_features(market_bars, "alpha158", to, local=True)
    return to


def test_a_feature_table_gives_what_bars_give(
    run: str, make_config: MakeConfig, make_run: MakeRun, market_bars: str, alpha158_table: str, tmp_path: Path
) -> None:
    from_table = make_run(make_config(data__features=alpha158_table))
    for name, model in (("bars", run), ("table", from_table)):
        for how, features in (("from bars", None), ("from table", alpha158_table)):
            to = str(tmp_path / f"{name} {how}")
            score(model, bars=market_bars, features=features, to=to, start=START, end=T, local=True)
        assert tables_of(tmp_path / f"{name} from bars") == tables_of(tmp_path / f"{name} from table")
    ours, theirs = (read_scores(str(tmp_path / name))["score"] for name in ("bars from bars", "table from bars"))
    np.testing.assert_array_equal(ours, theirs)


def test_without_bars_a_table_is_its_own_universe(
    make_config: MakeConfig, make_run: MakeRun, market_bars: str, alpha158_table: str, tmp_path: Path
) -> None:
    everyone = make_run(make_config(data__universe="all"))
    score(everyone, features=alpha158_table, to=str(tmp_path / "table"), start=T, end=T, local=True)
    score(everyone, bars=market_bars, to=str(tmp_path / "bars"), start=T, end=T, local=True)
    table, bars = (read_scores(str(tmp_path / name)) for name in ("table", "bars"))
    pd.testing.assert_frame_equal(table, bars)


@pytest.mark.parametrize(
    ("universe", "options", "says"),
    [
        ("demo", [], "give --bars BARS beside --features"),
    ],
)
def test_what_only_bars_know_is_asked_for(
    make_config: MakeConfig,
    make_run: MakeRun,
    alpha158_table: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    universe: str,
    options: list[str],
    says: str,
) -> None:
    run = make_run(make_config(data__universe=universe))
    line = ["score", "--model", run, "--features", alpha158_table, "--to", str(tmp_path / "s"), "--local", "--quiet"]
    assert command([*line, *options]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert says in err


def test_a_run_on_columns_of_its_own_asks_for_the_table(
    make_config: MakeConfig, make_run: MakeRun, market_bars: str, alpha158_table: str, tmp_path: Path
) -> None:
    run = make_run(make_config(data__features=alpha158_table, data__feature_set="{type: table, columns: [KMID, KLEN]}"))
    with pytest.raises(DataError, match="give --features FEATURES"):
        score(run, bars=market_bars, to=str(tmp_path / "s"), local=True)
    score(run, bars=market_bars, features=alpha158_table, to=str(tmp_path / "s"), start=T, end=T, local=True)
    assert days_of(tmp_path / "s") == [T]


@pytest.mark.parametrize("local", [True, pytest.param(False, marks=pytest.mark.ray)])
def test_a_table_of_other_features_is_refused(
    request: pytest.FixtureRequest,
    run: str,
    market_bars: str,
    alpha158_table: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    local: bool,
) -> None:
    if not local:
        request.getfixturevalue("local_ray")
    few = str(tmp_path / "few.parquet")
    rows = pd.read_parquet(alpha158_table, columns=["instrument", "datetime", "KMID", "RESI5"])
    rows.to_parquet(few)
    line = ["score", "--model", run, "--bars", market_bars, "--features", few, "--to", str(tmp_path / "s"), "--quiet"]
    assert command([*line, *(["--local"] if local else [])]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "no column" in err
    assert "few.parquet" in err
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("kind", SETS)
def test_nothing_later_than_a_date_is_in_its_scores(
    make_config: MakeConfig, make_run: MakeRun, market_bars: str, tmp_path: Path, kind: str
) -> None:
    """Later bars change, some instruments end, others appear: scores up to T keep every bit."""
    run = make_run(make_config(**SETS[kind]))
    known, other = scores_before_and_after(run, market_bars, tmp_path)
    assert days_of(tmp_path / "known")[0] == START
    assert len(known) > 10
    assert known == other
    score(run, bars=market_bars, to=str(tmp_path / "alone"), start=T, end=T, local=True)
    assert bytes_of(tmp_path / "alone") == {T: known[T]}


@pytest.mark.parametrize("kind", ["alpha158", "alpha360"])
def test_the_look_ahead_test_can_fail(
    make_config: MakeConfig,
    make_run: MakeRun,
    market_bars: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    """With features of the next row, and bars read behind T, scores of T depend on what is later."""
    run = make_run(make_config(**SETS[kind]))
    read = Bars.block
    monkeypatch.setattr(Bars, "block", lambda *args, **given: read(*args, **(given | {"end": None})))
    module, name = (alpha158, "compute") if kind == "alpha158" else (alpha360, "raw")
    honest = getattr(module, name)
    monkeypatch.setattr(module, name, lambda *args, **kwargs: np.roll(honest(*args, **kwargs), -1, axis=0))
    known, other = scores_before_and_after(run, market_bars, tmp_path)
    assert [day for day, content in other.items() if known[day] != content] == [T]


def scores_before_and_after(run: str, bars: str, tmp_path: Path) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Files scored from START to T, from the bars as they are and from bars with another future."""
    rows = open_bars(bars).block().to_frame()
    future = rows["datetime"] > T
    fields = [name for name in rows.columns if name not in ("instrument", "datetime")]
    rng = np.random.default_rng(3)
    rows.loc[future, fields] *= rng.uniform(0.5, 2.0, (int(future.sum()), len(fields))).astype(np.float32)
    names = sorted(set(rows["instrument"]))
    newcomer = rows[future & (rows["instrument"] == names[1])].assign(instrument="AAA")
    ended = future & rows["instrument"].isin(names[::7])
    changed = import_frame(pd.concat([rows[~ended], newcomer]), str(tmp_path / "changed"), like=bars)
    score(run, bars=bars, to=str(tmp_path / "known"), start=START, end=T, local=True)
    score(run, bars=changed, to=str(tmp_path / "other"), start=START, end=T, local=True)
    return bytes_of(tmp_path / "known"), bytes_of(tmp_path / "other")


HOURS = ("10:30", "11:30", "14:00", "15:00")


@pytest.fixture(scope="module")
def hourly_bars(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Eight instruments, 60 days of four hours; one lists late in a day, a day ends early, one misses hours."""
    rng = np.random.default_rng(1)
    days = pd.bdate_range("2020-01-01", periods=60)
    moments = pd.DatetimeIndex([pd.Timestamp(f"{day.date()} {hour}") for day in days for hour in HOURS])
    moments = moments[~((moments.normalize() == days[50]) & (moments.hour >= 14))]
    frames = []
    for n in range(8):
        close = np.exp(rng.normal(0, 0.01, len(moments)).cumsum() + 3)
        open_ = close * np.exp(rng.normal(0, 0.005, len(moments)))
        frame = pd.DataFrame({"instrument": f"I{n}", "datetime": moments, "open": open_, "close": close})
        frame["high"], frame["low"] = frame[["open", "close"]].max(axis=1) * 1.01, frame[["open", "close"]].min(axis=1)
        frames.append(frame.assign(volume=rng.lognormal(10, 1, len(moments))))
    frames[7] = frames[7][frames[7]["datetime"] >= days[45] + pd.Timedelta(hours=14)]
    gap = frames[3]["datetime"].dt.normalize() == days[55]
    frames[3] = frames[3][~(gap & (frames[3]["datetime"].dt.hour < 14))]
    to = str(tmp_path_factory.mktemp("hourly") / "bars")
    return import_bars(memory_source(BarBlock.from_frame(pd.concat(frames))), to).uri


def test_several_datetimes_in_a_day_are_ranked_and_published_together(
    hourly_bars: str, make_run: MakeRun, tmp_path: Path
) -> None:
    config: dict[str, Any] = {
        "data": {
            "bars": hourly_bars,
            "feature_set": {"type": "alpha158", "columns": ["KMID", "ROC5", "STD10"]},
            "step_len": 6,
            "segments": {
                "train": ["2020-01-01", "2020-02-20"],
                "valid": ["2020-02-21", "2020-02-28"],
                "test": ["2020-03-02", "2020-03-24"],
            },
        },
        "model": {"type": "gru", "hidden_size": 4, "num_layers": 1},
    }
    runs = [make_run(load_config(config | {"train": {"seed": seed}})) for seed in (0, 1)]
    score(runs[0], bars=hourly_bars, to=str(tmp_path / "one"), local=True)
    bars = open_bars(hourly_bars)
    frame = read_scores(str(tmp_path / "one"))
    assert list(frame["datetime"].unique()) == list(bars.calendar[bars.calendar >= np.datetime64("2020-03-02")])
    assert days_of(tmp_path / "one") == sorted({str(day.date()) for day in frame["datetime"]})
    sizes = frame.groupby("datetime").size()
    assert sizes["2020-03-04 11:30"] == 7
    assert sizes["2020-03-04 14:00"] == 8, "listed at 14:00"
    assert sizes["2020-03-18 10:30"] == 8, "a gap is a row"
    for _, here in frame.groupby("datetime"):
        assert sorted(here["rank"]) == list(range(1, len(here) + 1))
        assert here.sort_values("rank")["score"].is_monotonic_decreasing
    day = "2020-03-11"
    assert frame["datetime"].dt.strftime("%Y-%m-%d").eq(day).sum() == 16, "a short day"
    score(runs[0], bars=hourly_bars, to=str(tmp_path / "alone"), start=day, end=day, local=True)
    assert bytes_of(tmp_path / "alone") == {day: bytes_of(tmp_path / "one")[day]}
    score(runs, bars=hourly_bars, to=str(tmp_path / "both"), start=day, end=day, local=True)
    for _, here in read_scores(str(tmp_path / "both")).groupby("datetime"):
        assert here["score"].mean() == pytest.approx(0, abs=1e-6), "standardised within the datetime"


def test_a_newer_concept_table_takes_the_place_of_the_old(
    run: str, make_config: MakeConfig, make_run: MakeRun, market_bars: str, tmp_path: Path
) -> None:
    """It changes scores from the first day that it says something else about."""
    old, new = write_concepts(tmp_path, "2015-11-12")
    hist = {"model": "{type: hist, hidden_size: 8}", "train__dates_per_batch": 2}
    model = make_run(make_config(**hist, data__concepts=old))
    for name, concepts in (("as trained", None), ("newer", new)):
        to = str(tmp_path / name)
        score(model, bars=market_bars, concepts=concepts, to=to, start=START, end=T, local=True)
    before, after = (
        read_scores(str(tmp_path / name)).set_index("datetime")["score"] for name in ("as trained", "newer")
    )
    assert before[:"2015-11-11"].equals(after[:"2015-11-11"])
    changed = (before != after)["2015-11-12":].groupby(level=0).mean()
    assert len(changed) > 3
    assert (changed > 0.5).all()
    with pytest.raises(DataError, match="was trained without concepts"):
        score(run, bars=market_bars, concepts=new, to=str(tmp_path / "no"), local=True)
