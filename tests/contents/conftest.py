"""A market of two years, and what is made of it: features, two seeds, scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from raybench.cluster.jobs.features import write_features
from raybench.cluster.jobs.scoring import score
from raybench.cluster.jobs.training import train_seeds
from raybench.config import Config
from raybench.market.bars import BarBlock
from raybench.market.importing.job import import_bars
from raybench.market.sources.source import memory_source
from raybench.market.synthetic import UNIVERSE, make_market
from raybench.market.universe import universe_of_frame
from tests.small import small_config


@pytest.fixture(scope="session")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with bars, features, runs of two seeds and their scores; read only."""
    room = tmp_path_factory.mktemp("contents")
    market = make_market(instruments=12, years=2, seed=4)
    frame = market.bars.copy()
    frame["vwap"] = frame["vwap"].where(np.arange(len(frame)) % 2 == 0)
    spans = {UNIVERSE: universe_of_frame(UNIVERSE, market.spans)}
    import_bars(memory_source(BarBlock.from_frame(frame)), str(room / "bars"), universes=spans)
    write_features(str(room / "bars"), "alpha158", str(room / "features"), start="2015-01-05", local=True)
    train_seeds(config(room), (0, 1), out=str(room / "runs"), local=True)
    score([str(room / "runs")], bars=str(room / "bars"), to=str(room / "scores"), end="2015-09-30", local=True)
    return room


def config(room: Path) -> Config:
    """A GRU of one epoch."""
    features = "{type: alpha158, columns: [KMID, ROC5]}"
    tiny = {"data.feature_set": features, "data.step_len": 4, "data.embargo": 2, "train.max_epochs": 1}
    return small_config(room / "bars", tiny)
