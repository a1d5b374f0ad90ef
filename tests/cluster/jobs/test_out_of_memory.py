"""A bench one of whose fits takes more memory than its node has: Ray kills it, and the bench goes on."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from raybench.comparison.results import read_results
from raybench.config import Config, dump_config
from raybench.config.networks import parse_network
from raybench.runs.artifact import load_run

pytestmark = [pytest.mark.slow, pytest.mark.ray]

MakeConfig = Callable[..., Config]
NETWORKS = """
import os, time
from pathlib import Path
import torch
from torch import nn

class Plain(nn.Module):
    def __init__(self, num_features, hidden_size=4):
        super().__init__()
        self.embed, self.head = nn.Linear(num_features, hidden_size), nn.Linear(hidden_size, 1)

    def forward(self, x):
        return self.head(self.embed(x).tanh().mean(dim=1))[:, 0]

class Hungry(Plain):
    def forward(self, x):
        hungry = Path(os.environ["HUNGRY"])
        if self.training and len(x) > 2 and hungry.exists():
            if "once" in hungry.read_text():
                hungry.unlink()
            held = []
            while len(held) < 40:
                held.append(torch.ones(2**25))  # 128 MiB
                time.sleep(0.05)
            hungry.with_name("ate").touch()
        return super().forward(x)
"""
DRIVER = """
import os, sys
import ray
from ray._common.utils import get_system_memory
from ray._private.utils import get_used_memory
from raybench.cluster.jobs.benching import bench
from raybench.config import load_config

plain, hungry, out = sys.argv[1:]
total = get_system_memory()
most = (get_used_memory() + 3.5 * 2**30) / total  # Ray itself and two fits take some 1.5 GiB
limits = {"memory_usage_threshold": most, "memory_monitor_refresh_ms": 50, "task_oom_retries": 2}
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, _system_config=limits)
bench({"plain": load_config(plain), "hungry": load_config(hungry)}, seeds=1, out=out)
print("done", flush=True)
"""


@pytest.mark.parametrize("hunger", ["once", "always"])
def test_a_fit_that_is_killed_for_memory_is_tried_again_and_sinks_no_other(
    make_config: MakeConfig, tmp_path: Path, hunger: str
) -> None:
    (tmp_path / "their_networks.py").write_text(NETWORKS)
    config = make_config(train__max_epochs=3, cluster__num_workers=1)
    for name in ("Plain", "Hungry"):
        network = parse_network({"type": f"their_networks:{name}", "hidden_size": 4})
        (tmp_path / f"{name}.yaml").write_text(dump_config(config.model_copy(update={"model": network})))
    (tmp_path / "hungry").write_text(hunger)
    environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    environment |= {"PYTHONPATH": str(tmp_path), "HUNGRY": str(tmp_path / "hungry")}
    with tempfile.TemporaryDirectory(prefix="rb", ignore_cleanup_errors=True) as short:
        line = [sys.executable, "-c", DRIVER, "Plain.yaml", "Hungry.yaml", "bench"]
        environment["RAY_TMPDIR"] = short
        done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert "done" in done.stdout.splitlines(), done.stderr[-3000:]
    assert not (tmp_path / "ate").exists(), "it was not killed"
    errors = read_results(str(tmp_path / "bench")).set_index("name")["error"]
    assert errors.isna()["plain"]
    if hunger == "always":
        assert errors["hungry"].startswith("its node ran out of memory")
        return
    assert errors.isna()["hungry"]
    one, other = (
        load_run(str(tmp_path / "bench" / "runs" / name / "seed-0"), trust=True).weights for name in ("plain", "hungry")
    )
    assert all(torch.equal(value, other[name]) for name, value in one.items())
