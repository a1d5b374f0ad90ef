"""A small market on disk and one local Ray for all tests of this folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from raybench.config import Config, load_config
from raybench.config.alpha_names import BENCHMARK_20
from raybench.data import storage
from raybench.data.import_bars import import_bars
from raybench.data.sources import open_source
from raybench.data.synthetic import UNIVERSE, make_market
from raybench.data.universe import universe_of_frame

MakeConfig = Callable[..., Config]
MakeRun = Callable[[Config], str]


@pytest.fixture(scope="session")
def market_bars(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Bars of 30 instruments over two years, with universe ``demo`` and one that begins late, with a ghost."""
    folder = tmp_path_factory.mktemp("market")
    market = make_market(instruments=30, years=2)
    table = str(folder / "market.parquet")
    storage.publish_table(table, pa.Table.from_pandas(market.bars, preserve_index=False))
    late = pd.DataFrame({"instrument": ["GHOST", "SYN0001", "SYN0002", "SYN0003"], "start": "2014-10-01", "end": None})
    spans = {UNIVERSE: market.spans, "late": late}
    universes = {name: universe_of_frame(name, frame) for name, frame in spans.items()}
    import_bars(open_source(table, "parquet"), str(folder / "bars"), universes=universes)
    return str(folder / "bars")


@pytest.fixture(scope="session")
def make_config(market_bars: str) -> MakeConfig:
    """Return a function that makes a short configuration on the small market, some keys changed."""

    def make(**changes: Any) -> Config:
        config: dict[str, Any] = {
            "data": {
                "bars": market_bars,
                "universe": UNIVERSE,
                "feature_set": {"type": "alpha158", "columns": list(BENCHMARK_20)},
                "step_len": 8,
                "segments": {
                    "train": ["2014-01-01", "2015-03-31"],
                    "valid": ["2015-04-01", "2015-07-31"],
                    "test": ["2015-08-03", "2015-12-31"],
                },
            },
            "model": {"type": "gru", "hidden_size": 8, "num_layers": 1},
            "train": {"max_epochs": 2, "batch_size": 500, "lr": 3e-3},
            "cluster": {"num_workers": 2, "cpus_per_worker": 1},
        }
        overrides = [f"{key.replace('__', '.')}={value}" for key, value in changes.items()]
        return load_config(config, overrides)

    return make


@pytest.fixture(scope="session")
def make_run(tmp_path_factory: pytest.TempPathFactory) -> MakeRun:
    """Return a function that makes a run of a configuration in this process; its weights are as they are drawn."""

    def make(config: Config) -> str:
        from raybench.data.panel.build import build_panel
        from raybench.train.artifact import begin_run, write_run
        from raybench.train.needs import needs_of
        from raybench.train.network import build_model
        from raybench.train.sources import open_data

        out = str(tmp_path_factory.mktemp("run"))
        panel = build_panel(config, *open_data(config), segments=("train",))
        begin_run(out, config)
        write_run(
            out,
            config=config,
            weights=build_model(config, panel.columns).state_dict(),
            processors=panel.processors,
            history=[],
            best_epoch=0,
            began=datetime.now(UTC),
            facts={
                "data_fingerprint": panel.fingerprint,
                "model": config.model.type,
                "data": needs_of(panel, config, *open_data(config)).to_manifest(),
            },
        )
        return out

    return make


@pytest.fixture(scope="session")
def run(make_config: MakeConfig, make_run: MakeRun) -> str:
    """A run on universe ``demo``; read only."""
    return make_run(make_config())


@pytest.fixture(scope="session")
def local_ray() -> Iterator[None]:
    """One Ray for the session: starting it takes as long as many of the tests."""
    os.environ["RAY_TRAIN_HEALTH_CHECK_INTERVAL_S"] = "0.1"
    import ray

    from raybench.cluster.session import session

    with session(num_cpus=4):
        yield
    assert not ray.is_initialized()
