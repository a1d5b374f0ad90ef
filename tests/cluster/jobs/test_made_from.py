"""What scores were made from, whatever a run reads: stale is just what another scoring makes other scores of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from raybench.cluster.jobs.features import write_features
from raybench.cluster.jobs.scoring import score
from raybench.config import Config, load_config
from raybench.market.bars import open_bars
from raybench.market.synthetic import UNIVERSE
from raybench.scoring.status import status
from tests.cluster.scored import bytes_of, days_of, import_frame, tables_of
from tests.small import days_of_hours, import_rows, small_hours, write_concepts

MakeConfig = Callable[..., Config]
MakeRun = Callable[[Config], str]
START, CHANGED = "2015-10-01", "2015-11-02"


def changed_rows(bars: str, fields: tuple[str, ...] = ("open", "high", "low", "close")) -> Any:
    rows = open_bars(bars).block().to_frame()
    here = rows[(rows["datetime"] == CHANGED) & rows["close"].notna()]["instrument"]
    universe = open_bars(bars).universe(UNIVERSE)
    name = next(name for name in here if universe.contains(name, np.array([CHANGED], "datetime64[us]")).all())
    traded = rows[(rows["instrument"] == name) & (rows["datetime"] >= CHANGED) & rows["close"].notna()]
    when = traded["datetime"].iloc[0]
    rows.loc[traded.index[0], list(fields)] *= 1.01
    return rows, str(when.date())


def compare(models: list[str], before: dict[str, Any], after: dict[str, Any], tmp_path: Path) -> list[str]:
    """Score from both; gives the stale dates: they come out with other bytes, and all others with the same scores."""
    for name, given in (("before", before), ("after", after)):
        score(models, to=str(tmp_path / name), start=START, local=True, **given)
    days = days_of(tmp_path / "before")
    assert status(str(tmp_path / "before"), **before).stale.dates == ()  # type: ignore[union-attr]
    found = status(str(tmp_path / "before"), **after).stale
    assert found is not None
    assert found.unknown == ()
    stale = [str(day) for day in found.dates]
    old, new = bytes_of(tmp_path / "before"), bytes_of(tmp_path / "after")
    assert stale == [day for day in days if old[day] != new[day]]
    was, now = tables_of(tmp_path / "before"), tables_of(tmp_path / "after")
    assert [day for day in days if was[day] != now[day] and day not in stale] == []
    assert any(was[day] != now[day] for day in stale)
    return stale


def test_two_runs_that_read_otherwise(
    make_config: MakeConfig, make_run: MakeRun, run: str, market_bars: str, tmp_path: Path
) -> None:
    """The longer of their windows counts, and each field that one of them reads."""
    whole = make_run(make_config(data__feature_set="{type: alpha360}", data__step_len=60))
    rows, when = changed_rows(market_bars, fields=("vwap",))  # of the two only Alpha360 reads it
    bars = import_frame(rows, str(tmp_path / "bars"), like=market_bars)
    score(run, bars=bars, to=str(tmp_path / "alone"), start=START, local=True)
    assert status(str(tmp_path / "alone"), bars=market_bars).stale.dates == ()  # type: ignore[union-attr]
    assert compare([run, whole], {"bars": market_bars}, {"bars": bars}, tmp_path)[0] == when


def test_a_feature_table(make_config: MakeConfig, make_run: MakeRun, market_bars: str, tmp_path: Path) -> None:
    """A window of 8 rows of it."""
    table = str(tmp_path / "features")
    write_features(market_bars, "alpha158", table, local=True)
    run = make_run(make_config(data__features=table))
    rows, when = changed_rows(market_bars)
    other = str(tmp_path / "others")
    write_features(import_frame(rows, str(tmp_path / "bars"), like=market_bars), "alpha158", other, local=True)
    given = {"bars": market_bars}
    stale = compare([run], {**given, "features": table}, {**given, "features": other}, tmp_path)
    assert stale[0] == when
    alone = status(str(tmp_path / "before"), **given).stale  # type: ignore[arg-type]
    assert alone is not None
    assert len(alone.unknown) == len(days_of(tmp_path / "before"))


def test_concepts(make_config: MakeConfig, make_run: MakeRun, market_bars: str, tmp_path: Path) -> None:
    old, new = write_concepts(tmp_path, "2015-11-12")
    hist = {"model": "{type: hist, hidden_size: 8}", "train__dates_per_batch": 2}
    run = make_run(make_config(**hist, data__concepts=old))
    given = [{"bars": market_bars, "concepts": table} for table in (old, new)]
    assert compare([run], *given, tmp_path)[0] == "2015-11-12"


@pytest.mark.parametrize("kind", ["second window", "hours"])
def test_hours(kind: str, make_run: MakeRun, tmp_path: Path) -> None:
    """As a second window of daily bars, and by themselves, several datetimes in a day."""
    frame = small_hours(pd.bdate_range("2015-08-03", periods=100))
    days = import_rows(days_of_hours(frame), tmp_path / "days")
    whole = import_rows(frame, tmp_path / "hours")
    own = {"feature_set": {"type": "alpha158", "columns": ["KMID", "ROC5"]}, "step_len": 6}
    data: dict[str, Any] = {
        "bars": days if kind == "second window" else whole,
        "feature_set": {"type": "alpha158", "columns": ["KLEN", "STD5", "ROC5"]},
        "step_len": 4,
        "segments": {
            "train": ["2015-08-10", "2015-08-31"],
            "valid": ["2015-09-01", "2015-09-30"],
            "test": ["2015-10-01", "2015-12-18"],
        },
    }
    if kind == "second window":
        data["second"] = {"bars": whole, **own}
    config = load_config({"data": data, "model": {"type": "gru", "hidden_size": 4, "num_layers": 1}})
    run = make_run(config)
    changed = frame.copy()
    changed.loc[(frame["instrument"] == "I4") & (frame["datetime"] == f"{CHANGED} 14:00"), "close"] *= 1.001
    other = import_rows(changed, tmp_path / "others")
    given = [{"bars": days, "second": uri} if kind == "second window" else {"bars": uri} for uri in (whole, other)]
    stale = compare([run], *given, tmp_path)
    assert stale[0] == CHANGED
    assert len(stale) < 8


def test_a_network_that_remembers_its_losses(
    make_config: MakeConfig, make_run: MakeRun, market_bars: str, tmp_path: Path
) -> None:
    model = "{type: tra, model_config: {hidden_size: 8, num_layers: 1}, tra_config: {hidden_size: 4}}"
    run = make_run(make_config(model=model))
    rows, when = changed_rows(market_bars)
    bars = import_frame(rows, str(tmp_path / "bars"), like=market_bars)
    assert compare([run], {"bars": market_bars}, {"bars": bars}, tmp_path)[0] == when
