"""Trials of two workers each, on a Ray of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from raybench.config import Config, dump_config
from raybench.runs.artifact import load_run
from raybench.search.ledger import DONE, STOPPED
from tests.cluster.conftest import MakeConfig

pytestmark = [pytest.mark.slow, pytest.mark.ray]


@pytest.fixture
def wide(make_config: MakeConfig) -> Config:
    """A search of three trials, two of which learn next to nothing."""
    return make_config(
        cluster__num_workers=2,
        cluster__cpus_per_worker=1,
        train__max_epochs=2,
        tune__search="{type: grid}",
        tune__space="{train.lr: {grid: [1e-2, 1e-7, 1e-8]}}",
        tune__scheduler="{type: asha}",
        tune__max_concurrent=1,
    )


def test_workers_of_a_trial_are_ray_trains_and_schedulers_stop_it(wide: Config, tmp_path: Path) -> None:
    (tmp_path / "gru.yaml").write_text(dump_config(wide))
    words = [sys.executable, "-m", "raybench", "tune", "gru.yaml", "--out", "search", "--json"]
    environment = {**os.environ, "RAY_ADDRESS": "local"}
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    trials = pd.read_parquet(tmp_path / "search" / "trials.parquet").set_index("trial_id").sort_index()
    assert trials["status"].to_dict() == {"0000": DONE, "0001": STOPPED, "0002": STOPPED}
    assert trials["epochs"].tolist() == [2, 1, 1]
    best = load_run(str(tmp_path / "search" / "best"))
    assert best.manifest["search"]["trial"] == "0000"
    assert best.metrics["valid_rank_ic"] == trials["metric"]["0000"]
