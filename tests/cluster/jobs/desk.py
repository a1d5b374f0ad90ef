"""What mornings make of deliveries: a delivery that may be another each time, the table, and what it should be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from raybench.cluster.jobs.daily import DailyResult, daily
from raybench.cluster.jobs.scoring import score
from raybench.config import Config, load_config
from raybench.config.daily import DailyConfig
from raybench.market.bars import open_bars
from raybench.market.importing.job import import_bars
from raybench.market.sources import open_source
from raybench.market.synthetic import UNIVERSE
from raybench.market.universe import universe_of_frame
from raybench.scoring.status import status
from tests.cluster.scored import bytes_of, times_of

FIELDS = ["open", "high", "low", "close", "volume"]
START = "2015-10-01"


@pytest.fixture(scope="session")
def rows(market_bars: str) -> pd.DataFrame:
    """The bars as a vendor has them: no rows for who is suspended."""
    rows = open_bars(market_bars).block().to_frame()[["instrument", "datetime", *FIELDS]].dropna()
    return rows[rows["datetime"] >= "2014-06-01"].reset_index(drop=True)


@pytest.fixture(scope="session")
def days(rows: pd.DataFrame) -> list[str]:
    return sorted(rows["datetime"].dt.strftime("%Y-%m-%d").unique())


@pytest.fixture(scope="session")
def spans(market_bars: str) -> pd.DataFrame:
    return open_bars(market_bars).listed(UNIVERSE).to_frame()


class Desk:
    """A delivery, and what mornings make of it."""

    def __init__(self, folder: Path, run: str, start: str = START) -> None:
        self.folder, self.run, self.start = folder, run, start
        self.universe: dict[str, str] = {}

    def deliver(self, rows: pd.DataFrame, spans: pd.DataFrame | None = None) -> None:
        rows.to_parquet(self.folder / "rows.parquet")
        if spans is not None:
            spans.to_csv(self.folder / "spans.csv", index=False)
            self.universe = {UNIVERSE: str(self.folder / "spans.csv")}

    def config(self, **score: Any) -> DailyConfig:
        given = {"model": self.run, "to": str(self.folder / "scores"), "start": self.start, "local": True}
        source = {"source": str(self.folder / "rows.parquet"), "universe": self.universe}
        bars = str(self.folder / "bars")
        return DailyConfig.model_validate({"import": source, "bars": bars, "score": given | score})

    def morning(self, **score: Any) -> DailyResult:
        return daily(self.config(**score))

    def expected(self, rows: pd.DataFrame, spans: pd.DataFrame | None = None) -> dict[str, bytes]:
        """What one import and one scoring of it all makes."""
        universes = {} if spans is None else {UNIVERSE: universe_of_frame(UNIVERSE, spans)}
        rows.to_parquet(self.folder / "all.parquet")
        bars = import_bars(
            open_source(str(self.folder / "all.parquet")), self.folder / "whole-bars", universes=universes
        )
        score(self.run, bars=bars.uri, to=str(self.folder / "whole"), start=self.start, local=True)
        return bytes_of(self.folder / "whole")

    def found_and_redone(self) -> list[str]:
        """What a morning tells of is what a look at everything finds; one that redoes it does these and no others."""
        told = self.morning()
        found = status(str(self.folder / "scores"), bars=str(self.folder / "bars")).stale
        assert found is not None
        stale = list(told.stale)
        assert stale == [str(day) for day in found.dates]
        assert told.changed == {name: str(day) for name, day in found.changed.items()}
        before = times_of(str(self.folder / "scores"))
        done = self.morning(redo_stale=True)
        after = times_of(str(self.folder / "scores"))
        assert (list(done.redone), done.stale) == (stale, ())
        assert [day for day in before if before[day] != after[day]] == stale
        assert self.morning(redo_stale=True).redone == ()
        return stale


@pytest.fixture
def desk(tmp_path: Path, run: str) -> Desk:
    return Desk(tmp_path, run)


def long_rows(days: int) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    dates = pd.bdate_range(end="2020-06-30", periods=days)
    parts = []
    for n in range(4):
        close = np.exp(rng.normal(0, 0.01, days).cumsum() + 3)
        frame = pd.DataFrame({"instrument": f"I{n}", "datetime": dates, "open": close, "close": close})
        parts.append(frame.assign(high=close * 1.01, low=close * 0.99, volume=rng.lognormal(10, 1, days)))
    return pd.concat(parts, ignore_index=True)


def tiny(bars: str, **data: Any) -> Config:
    segments = {
        "train": ["2019-03-01", "2019-08-30"],
        "valid": ["2019-09-02", "2019-12-31"],
        "test": ["2020-01-02", "2020-06-30"],
    }
    features = {"type": "alpha158", "columns": ["KMID", "ROC5"]}
    known = {"bars": bars, "feature_set": features, "step_len": 4, "segments": segments}
    return load_config({"data": known | data, "model": {"type": "gru", "hidden_size": 4, "num_layers": 1}})
