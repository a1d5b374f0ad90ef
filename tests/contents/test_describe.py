"""What lies at an address, against the data it was made of."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import raybench
from raybench.comparison.asked import Asked, Bench
from raybench.comparison.results import failed_row, write_results
from raybench.config import dump_config
from raybench.contents.describe import describe
from raybench.errors import DataError, UserError
from raybench.market.bars import open_bars
from raybench.runs.artifact import begin_run, load_run
from raybench.scoring.table import read_scores
from raybench.search.ledger import DONE, Ledger, TrialRecord
from raybench.storage import files
from raybench.storage.places import SEARCH, Kind
from tests.comparison.made_up import fit
from tests.contents.conftest import config


def found(path: Path, kind: Kind) -> Any:
    contents = describe(str(path))
    assert contents.kind is kind
    json.dumps(contents.values, default=str)  # nothing that only Python has
    return contents.values


def test_bars(room: Path) -> None:
    bars, said = open_bars(str(room / "bars")), found(room / "bars", Kind.BARS)
    frame = bars.block().to_frame()
    assert said["fingerprint"] == bars.fingerprint
    assert said["versions"] == {"schema": 2}
    assert said["dates"] == frame["datetime"].nunique() == len(bars.calendar)
    assert (said["instruments"], said["rows"]) == (frame["instrument"].nunique(), len(frame))
    values = frame[list(bars.fields)]
    assert said["suspended"] == round(values.isna().all(axis=1).mean(), 4)
    shares = {row["field"]: row["nan_share"] for row in said["fields"]}
    assert shares == {name: round(share, 4) for name, share in values.isna().mean().items()}
    assert shares["vwap"] > 0.5 > shares["close"] > 0
    highest = {row["field"]: row["highest"] for row in said["fields"]}
    assert highest["close"] == frame["close"].max()
    years = {row["year"]: row for row in said["years"]}
    dates = pd.DatetimeIndex(bars.calendar)
    assert {year: row["dates"] for year, row in years.items()} == dates.year.value_counts().sort_index().to_dict()
    weekdays = pd.bdate_range(dates[0], dates[-1])
    assert sum(row["weekdays_without"] for row in years.values()) == len(weekdays.difference(dates))
    traded = frame[values.notna().any(axis=1)].groupby("datetime").size().reindex(dates, fill_value=0)
    usual = traded.groupby(lambda day: day.year).median().astype(int).to_dict()
    assert {year: row["with_bars"] for year, row in years.items()} == usual
    assert all(row["with_bars"] <= row["all"] and row["demo"] <= row["all"] for row in years.values())
    universe = next(row for row in said["universes"] if row["universe"] == "demo")
    assert universe["instruments"] == len(bars.listed("demo").instruments)


def test_gaps_and_thin_dates_of_bars(tmp_path: Path) -> None:
    from raybench.market.bars import BarBlock
    from raybench.market.importing.job import import_bars
    from raybench.market.sources.source import memory_source

    days = pd.bdate_range("2020-01-06", periods=60).delete(range(20, 30))
    rows = [
        {"instrument": f"I{n}", "datetime": day, **dict.fromkeys(("open", "high", "low", "close", "volume"), 1.0)}
        for n in range(20)
        for day in days
        if day != days[40] or n == 0
    ]
    import_bars(memory_source(BarBlock.from_frame(pd.DataFrame(rows))), str(tmp_path / "bars"))
    said = found(tmp_path / "bars", Kind.BARS)
    assert said["far_apart"] == [f"{days[19].date()} to {days[20].date()} (17 days)"]
    assert said["thin_dates"] == [str(days[40].date())]


def test_a_feature_table(room: Path) -> None:
    said = found(room / "features", Kind.FEATURES)
    frame = pd.read_parquet(room / "features")
    assert (said["rows"], said["columns"], said["label"]) == (len(frame), 158, "LABEL0")
    assert said["label_nan_share"] == round(frame["LABEL0"].isna().mean(), 4)
    assert said["dates"] == frame["datetime"].nunique()
    worst = frame.drop(columns=["instrument", "datetime", "LABEL0"]).isna().mean().max()
    assert said["most_nan"][0]["nan_share"] == round(worst, 4)
    assert said["bars_fingerprint"] == open_bars(str(room / "bars")).fingerprint
    assert said["versions"] == {"schema": 1}
    assert said["years"][0]["rows"] == int(frame.groupby("datetime").size().median())


def test_a_table_of_somebody_else(room: Path, tmp_path: Path) -> None:
    frame = pd.read_parquet(room / "features", columns=["instrument", "datetime", "KMID", "ROC5"])
    frame.assign(ROC5=np.nan).to_parquet(tmp_path / "mine.parquet")
    said = found(tmp_path / "mine.parquet", Kind.FILE)
    assert (said["made_by"], said["label"], said["columns"]) == ("somebody else", None, 2)
    assert said["most_nan"][0] == {"column": "ROC5", "nan_share": 1.0}


def test_a_run(room: Path) -> None:
    run, said = load_run(str(room / "runs" / "seed-1")), found(room / "runs" / "seed-1", Kind.RUN)
    assert (said["run_id"], said["state"], said["seed"]) == (run.run_id, "finished", 1)
    assert (said["network"], said["features"], said["epochs"]) == ("gru", 2, 1)
    assert said["valid_rank_ic"] == run.metrics["valid_rank_ic"]
    assert set(said["versions"]) == {"raybench", "torch", "ray"}
    assert said["sources"] == {"data.bars": str(room / "bars")}


def test_a_run_that_was_begun(room: Path, tmp_path: Path) -> None:
    begin_run(str(tmp_path / "run"), config(room))
    said = found(tmp_path / "run", Kind.RUN)
    assert (said["state"], said["epochs"], said["network"]) == ("unfinished", 0, "gru")


def test_a_run_that_was_damaged(room: Path, tmp_path: Path) -> None:
    shutil.copytree(room / "runs" / "seed-0", tmp_path / "run")
    (tmp_path / "run" / "metrics.json").write_text("{}")
    with pytest.raises(UserError, match=r"metrics\.json"):
        describe(str(tmp_path / "run"))


def test_seeds(room: Path) -> None:
    said = found(room / "runs", Kind.RUNS)
    each = [load_run(str(room / "runs" / name)).metrics["valid_rank_ic"] for name in ("seed-0", "seed-1")]
    assert (said["runs"], said["unfinished"], said["damaged"]) == (2, 0, 0)
    assert said["valid_rank_ic"] == pytest.approx(np.mean(each), abs=1e-6)
    assert said["valid_rank_ic_std"] == pytest.approx(np.std(each, ddof=1), abs=1e-6)
    assert [row["seed"] for row in said["seeds"]] == [0, 1]


def test_scores(room: Path) -> None:
    said, frame = found(room / "scores", Kind.SCORES), read_scores(str(room / "scores"))
    assert (said["rows"], said["dates"]) == (len(frame), frame["datetime"].nunique())
    assert said["runs"][0]["run_id"] == frame["run_id"].iloc[0]
    assert said["runs"][0]["dates"] == said["dates"]
    assert said["last"] == np.datetime64(frame["datetime"].max(), "D")
    assert said["years"][0]["rows"] == int(frame.groupby("datetime").size().median())
    assert 0 < said["lowest_coverage"] <= 1
    assert said["versions"] == {"schema": "1", "raybench": raybench.__version__}
    assert said["bars_fingerprint"] == open_bars(str(room / "bars")).fingerprint


def test_an_unfinished_search(room: Path, tmp_path: Path) -> None:
    searched = config(room)
    files.publish_bytes(str(tmp_path / "s" / SEARCH), dump_config(searched).encode())
    ledger = Ledger.opened(str(tmp_path / "s"), list(searched.search_space), "max")
    for number, metric in enumerate((0.01, 0.03, float("nan"))):
        record = TrialRecord(number=number, values={"train.lr": 0.1 * (number + 1)}, status=DONE, metric=metric)
        ledger.put(TrialRecord(**{**{f: getattr(record, f) for f in record.__slots__}, "best_epoch": 1}))
    ledger.publish()
    said = found(tmp_path / "s", Kind.SEARCH)
    assert (said["state"], said["trials"], said["best_trial"]) == ("unfinished", {"done": 3}, "0001")
    assert [row["trial"] for row in said["best_trials"]] == ["0001", "0000"]
    assert said["best_trials"][0]["lr"] == pytest.approx(0.2)


def test_a_bench(room: Path, tmp_path: Path) -> None:
    bench = Asked(fits=("runs/gru/0", "runs/gru/1", "runs/bad/0"), configs={})
    Bench(asked=bench).write(str(tmp_path / "b"))
    rows = [fit("gru", 0, **{"Rank IC": 0.02}), fit("gru", 1, **{"Rank IC": 0.04})]
    failed = failed_row("bad", config(room), "the loss is NaN", folder="runs/bad/0")
    write_results(str(tmp_path / "b"), [*rows, failed])
    said = found(tmp_path / "b", Kind.BENCH)
    assert (said["state"], said["fits_asked"], said["fits_ended"], said["fits_failed"]) == ("unfinished", 3, 2, 1)
    gru, bad = said["configurations"]
    assert (gru["fits"], gru["rank_ic"]) == (2, pytest.approx(0.03))
    assert gru["rank_ic_std"] == pytest.approx(np.std([0.02, 0.04], ddof=1), abs=1e-6)
    assert (bad["failed"], bad["rank_ic"]) == (1, None)


def test_a_folder_names_what_is_in_it(room: Path) -> None:
    inside = {each["name"]: each["kind"] for each in found(room, Kind.FILES)["inside"]}
    assert inside["bars"] == "a bars dataset"
    assert inside["runs"] == "a folder of runs"


@pytest.mark.parametrize("name", ["nothing", "empty", "text.yaml"])
def test_what_cannot_be_described(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.yaml").write_text("data: {}")
    with pytest.raises(DataError, match="want"):
        describe(str(tmp_path / name))
