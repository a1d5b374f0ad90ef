"""A small market on disk and one local Ray for all tests of this folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import pytest

from raybench.config import Config
from raybench.config.panel_spec import PanelSpec
from tests.cluster.s3_server import lent
from tests.small import dotted, small_bars, small_config

MakeConfig = Callable[..., Config]
MakeRun = Callable[[Config], str]


@pytest.fixture(scope="session")
def market_bars(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Bars of 30 instruments over two years, with universe ``demo`` and one that begins late, with a ghost."""
    late = pd.DataFrame({"instrument": ["GHOST", "SYN0001", "SYN0002", "SYN0003"], "start": "2014-10-01", "end": None})
    return small_bars(tmp_path_factory.mktemp("market") / "bars", instruments=30, late=late)


@pytest.fixture(scope="session")
def make_config(market_bars: str) -> MakeConfig:
    """Return a function that makes a short configuration on the small market, some keys changed."""

    own = {"data.segments.test": "[2015-08-03, 2015-12-31]", "cluster.num_workers": 2}

    def make(**changes: Any) -> Config:
        return small_config(market_bars, own | dotted(changes))

    return make


@pytest.fixture(scope="session")
def make_run(tmp_path_factory: pytest.TempPathFactory) -> MakeRun:
    """Return a function that makes a run of a configuration in this process; its weights are as they are drawn."""

    def make(config: Config) -> str:
        from raybench.panel.build import build_panel
        from raybench.runs.artifact import begin_run, write_run
        from raybench.training.needs import needs_of
        from raybench.training.network import build_model
        from raybench.training.sources import open_data

        out = str(tmp_path_factory.mktemp("run"))
        panel = build_panel(PanelSpec.of(config), *open_data(PanelSpec.of(config)), segments=("train",))
        begin_run(out, config)
        write_run(
            out,
            config=config,
            weights=build_model(config, panel.columns).state_dict(),
            processors=panel.processors,
            second_processors=panel.second_processors,
            history=[],
            best_epoch=0,
            began=datetime.now(UTC),
            facts={
                "data_fingerprint": panel.fingerprint,
                "model": config.model.type,
                "data": needs_of(panel, PanelSpec.of(config), *open_data(PanelSpec.of(config))).to_manifest(),
            },
        )
        return out

    return make


@pytest.fixture(scope="session")
def run(make_config: MakeConfig, make_run: MakeRun) -> str:
    """A run on universe ``demo``; read only."""
    return make_run(make_config())


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    """A real S3 server on this machine: the environment that leads to its bucket."""
    yield from lent(tmp_path_factory)


@pytest.fixture(scope="session")
def local_ray() -> Iterator[None]:
    """One Ray for the session: starting it takes as long as many of the tests."""
    os.environ["RAY_TRAIN_HEALTH_CHECK_INTERVAL_S"] = "0.1"
    import ray

    from raybench.cluster.session import session

    with session(num_cpus=4):
        yield
    assert not ray.is_initialized()
