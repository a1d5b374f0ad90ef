"""A bench on a cluster of two nodes, one of which goes away while fits run on it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch

from raybench.cluster.jobs.benching import bench
from raybench.comparison.results import read_results
from raybench.config import dump_config
from raybench.runs.artifact import load_run
from tests.cluster.conftest import MakeConfig
from tests.cluster.losing_a_node import lose_a_node

pytestmark = [pytest.mark.slow, pytest.mark.ray]
BENCH = """
from raybench.cluster.jobs.benching import bench
from raybench.config import load_config
bench({"gru": load_config(config)}, seeds=2, out=out)
"""
MEASURED = ["seconds", "samples_per_second", "peak_memory_mib", "run_id"]


def test_fits_of_a_node_that_went_go_on_elsewhere(local_ray: None, make_config: MakeConfig, tmp_path: Path) -> None:
    config = make_config(cluster__num_workers=1, train__max_epochs=20, train__early_stop__patience=50)
    (tmp_path / "gru.yaml").write_text(dump_config(config))
    expected = bench({"gru": config}, seeds=2, out=str(tmp_path / "whole"))
    begun = [f"runs/gru/seed-{seed}/checkpoints/*/facts.json" for seed in (0, 1)]
    lose_a_node(BENCH, tmp_path / "gru.yaml", tmp_path / "bench", begun)
    found = read_results(str(tmp_path / "bench"))
    assert found["error"].isna().all()
    pd.testing.assert_frame_equal(found.drop(columns=MEASURED), expected.results.drop(columns=MEASURED))
    for run in found["run"]:
        one, other = (load_run(str(tmp_path / place / run)).weights for place in ("bench", "whole"))
        assert all(torch.equal(value, other[name]) for name, value in one.items())
