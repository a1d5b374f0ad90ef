"""A date that is scored when it is new has the bytes that it has when it is scored years later."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from raybench.cluster.jobs.scoring import score
from raybench.config import Config
from raybench.market.bars import BarBlock, open_bars
from raybench.market.importing.append import append_bars
from raybench.market.sources import MemorySource, memory_source
from raybench.market.universe import Universe
from raybench.scoring.status import status
from tests.cluster.scored import bytes_of, days_of

MakeConfig = Callable[..., Config]
MakeRun = Callable[[Config], str]
FIRST, LAST = "2015-08-03", "2015-12-15"
MODELS = {
    "listed": {},
    "all": {"data__universe": "all"},
    "lags": {"data__universe": "all", "data__feature_set": "{type: alpha360}", "data__step_len": 60},
    "by date": {"data__processors__infer": "[{class: CSZScoreNorm, kwargs: {fields_group: feature}}, {class: Fillna}]"},
}


@pytest.fixture(scope="module")
def rows(market_bars: str) -> pd.DataFrame:
    """Members that pause at different lengths, come late, and leave the exchange; nobody says so in the spans."""
    bars = open_bars(market_bars)
    frame = bars.block().to_frame().dropna()
    days = np.unique(frame["datetime"].to_numpy())
    at = int(np.searchsorted(days, np.datetime64(FIRST)))
    when = np.searchsorted(days, frame["datetime"].to_numpy()) - at
    gone = {
        "SYN0002": (when >= 3) & (when < 9),
        "SYN0003": (when >= 62) & (when < 70),  # as long as a member may pause and count as suspended
        "SYN0004": when >= 6,  # delisted
        "SYN0005": when < 5,  # listed late
        "SYN0006": (when >= 0) & (when % 3 > 0),
        "SYN0007": when >= -59,  # leaves all on the second date
    }
    names = frame["instrument"].to_numpy()
    kept = ~np.logical_or.reduce([mask & (names == name) for name, mask in gone.items()])
    return frame[kept]


@pytest.mark.parametrize("model", MODELS)
def test_live_is_later(
    model: str, rows: pd.DataFrame, market_bars: str, make_config: MakeConfig, make_run: MakeRun, tmp_path: Path
) -> None:
    run = make_run(make_config(**MODELS[model]))
    days = [day for day in np.unique(rows["datetime"].to_numpy()) if np.datetime64(FIRST) <= day]
    live, once = str(tmp_path / "live"), str(tmp_path / "once")
    for k, day in enumerate(days[:84]):
        if k in (0, 1, 4, 7, 8, 10, 12, 62, 63, 70, 80, 83):
            append_bars(source(rows[rows["datetime"] <= day], market_bars), tmp_path / "bars")
            date = str(day)[:10]
            score(run, bars=str(tmp_path / "bars"), to=live, start=date, end=date, local=True, min_coverage=0.0)
    append_bars(source(rows, market_bars), tmp_path / "bars")
    score(run, bars=str(tmp_path / "bars"), to=once, start=FIRST, end=LAST, local=True, min_coverage=0.0)
    later = bytes_of(once)
    assert {day: later[day] for day in days_of(live)} == bytes_of(live)
    found = status(live, bars=str(tmp_path / "bars")).stale
    assert found is not None
    assert found.dates == ()


def source(rows: pd.DataFrame, like: str) -> MemorySource:
    """Rows with the universes of other bars."""
    bars = open_bars(like)
    universes: dict[str, Universe] = {name: bars.listed(name) for name in bars.universes if name != "all"}
    return memory_source(BarBlock.from_frame(rows), universes=universes)
