"""A small market on disk and a run of two epochs on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from raybench.cluster.jobs.training import train
from raybench.config import Config
from tests.small import dotted, small_bars, small_config

MakeConfig = Callable[..., Config]


@pytest.fixture(scope="session")
def bars(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two years of 25 instruments; one has no bars for a while, and a universe begins late."""
    late = pd.DataFrame({"instrument": ["GHOST", "SYN0001", "SYN0002"], "start": "2015-09-01", "end": None})
    return small_bars(tmp_path_factory.mktemp("comparison") / "bars", instruments=25, seed=4, late=late)


@pytest.fixture(scope="session")
def make_config(bars: str) -> MakeConfig:
    """Return a function that makes a short configuration, some keys changed."""

    def make(**changes: Any) -> Config:
        return small_config(bars, dotted(changes))

    return make


@pytest.fixture(scope="session")
def run(make_config: MakeConfig, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A GRU of two epochs; read only."""
    out = str(tmp_path_factory.mktemp("run") / "gru")
    train(make_config(), out=out, local=True)
    return out


@pytest.fixture(scope="session")
def runs(make_config: MakeConfig, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """Runs of one epoch called a, b, c: a GRU, another seed of it, a wider one with another test segment; read only."""
    folder = tmp_path_factory.mktemp("runs")
    segments = make_config().data.segments.model_dump(mode="json") | {"test": ["2015-09-01", "2015-12-31"]}
    changes: dict[str, dict[str, Any]] = {
        "a": {},
        "b": {"train__seed": 1},
        "c": {"model__hidden_size": 12, "data__segments": segments},
    }
    for name, changed in changes.items():
        train(make_config(**{"train__max_epochs": 1, **changed}), out=str(folder / name), local=True)
    return tuple(str(folder / name) for name in changes)
