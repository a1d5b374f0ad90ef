"""A search on a cluster of two nodes, one of which goes away while trials run on it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from raybench.cluster.jobs import tuning
from raybench.config import Config, dump_config
from raybench.runs.artifact import load_run
from tests.cluster.conftest import MakeConfig

pytestmark = [pytest.mark.slow, pytest.mark.ray]

LOSES_A_NODE = """
import os, sys, threading, time
from pathlib import Path
import ray
from ray.cluster_utils import Cluster
from raybench.cluster.jobs.tuning import search

config, out = sys.argv[1], Path(sys.argv[2])
quick = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 4}
head = {"num_cpus": 1, "include_dashboard": False, "_system_config": quick}
cluster = Cluster(initialize_head=True, head_node_args=head)
ray.init(address=cluster.address, log_to_driver=False)  # before there is another node that it might belong to
other = cluster.add_node(num_cpus=1)

def lose():
    while not all(list((out / "trials" / name / "checkpoints").glob("*/facts.json")) for name in ("0000", "0001")):
        time.sleep(0.05)
    cluster.remove_node(other, allow_graceful=False)
    print("lost", flush=True)

threading.Thread(target=lose, daemon=True).start()
search(config, out=str(out))
print("searched", flush=True)
cluster.head_node.kill_all_processes(check_alive=False, allow_graceful=False)
os._exit(0)  # a shutdown in good order waits for the node that is gone
"""


@pytest.fixture
def config(make_config: MakeConfig) -> Callable[[], Config]:
    """Two trials of a few seconds, one for each node."""
    return lambda: make_config(
        cluster__num_workers=1,
        cluster__cpus_per_worker=1,
        train__max_epochs=20,
        train__early_stop__patience=50,
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
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    words = [sys.executable, "-c", LOSES_A_NODE, str(tmp_path / "gru.yaml"), str(tmp_path / "search")]
    with tempfile.TemporaryDirectory(prefix="rb", ignore_cleanup_errors=True) as short:  # not where others look for Ray
        environment["RAY_TMPDIR"] = short
        done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr[-3000:]
    assert {"lost", "searched"} <= set(done.stdout.splitlines())  # among what Ray says of the node
    trials = pd.read_parquet(tmp_path / "search" / "trials.parquet")
    assert trials["tries"].max() > 1, "no trial was on the node that went"
    whole = expected.trials
    pd.testing.assert_frame_equal(
        trials.drop(columns=["seconds", "tries"]),
        pd.read_parquet(tmp_path / "whole" / "trials.parquet")[whole.columns].drop(columns=["seconds", "tries"]),
    )
    best = load_run(str(tmp_path / "search" / "best"))
    assert all(np.array_equal(best.weights[name].numpy(), expected.best.weights[name].numpy()) for name in best.weights)
