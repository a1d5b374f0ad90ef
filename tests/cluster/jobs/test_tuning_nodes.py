"""A search on a cluster of two nodes, one of which goes away while trials run on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from raybench.cluster.jobs import tuning
from raybench.config import Config, dump_config
from raybench.runs.artifact import load_run
from tests.cluster.conftest import MakeConfig
from tests.cluster.losing_a_node import lose_a_node

pytestmark = [pytest.mark.slow, pytest.mark.ray]

SEARCH = "from raybench.cluster.jobs.tuning import search; search(config, out=out)"


@pytest.fixture
def config(make_config: MakeConfig) -> Callable[[], Config]:
    """Two trials of a few seconds, one for each node."""
    return lambda: make_config(
        cluster__num_workers=1,
        cluster__cpus_per_worker=1,
        train__max_epochs=60,
        train__early_stop__patience=100,
        tune__num_samples=2,
        tune__scheduler="{type: fifo}",
        tune__space="{train.lr: {loguniform: [1e-4, 1e-2]}}",
        tune__max_concurrent=2,
    )


def test_trials_of_a_node_that_went_go_on_elsewhere(
    local_ray: None, config: Callable[[], Config], tmp_path: Path
) -> None:
    expected = tuning.search(config(), out=str(tmp_path / "whole"))
    (tmp_path / "gru.yaml").write_text(dump_config(config()))
    begun = [f"trials/{name}/checkpoints/*/facts.json" for name in ("0000", "0001")]
    lose_a_node(SEARCH, tmp_path / "gru.yaml", tmp_path / "search", begun)
    trials = pd.read_parquet(tmp_path / "search" / "trials.parquet")
    assert trials["tries"].max() > 1, "no trial was on the node that went"
    whole = expected.trials
    pd.testing.assert_frame_equal(
        trials.drop(columns=["seconds", "tries"]),
        pd.read_parquet(tmp_path / "whole" / "trials.parquet")[whole.columns].drop(columns=["seconds", "tries"]),
    )
    best = load_run(str(tmp_path / "search" / "best"))
    assert all(np.array_equal(best.weights[name].numpy(), expected.best.weights[name].numpy()) for name in best.weights)
