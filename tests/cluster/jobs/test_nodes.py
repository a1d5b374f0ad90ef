"""A cluster of two nodes, one of which goes while it works."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from raybench.config import Config, dump_config
from tests.cluster.scored import bytes_of

pytestmark = [pytest.mark.slow, pytest.mark.ray]

MakeConfig = Callable[..., Config]
CLUSTER = """
import os, sys, threading, time
from pathlib import Path
import ray
from ray.cluster_utils import Cluster
quick = {"health_check_initial_delay_ms": 5000, "health_check_period_ms": 3000, "health_check_failure_threshold": 5}
head = {"num_cpus": 1, "include_dashboard": False, "_system_config": quick}
cluster = Cluster(initialize_head=True, head_node_args=head)

def begin(**options):
    ray.init(address=cluster.address, log_to_driver=False, **options)
    return cluster.add_node(num_cpus=1)

def lose(other, when):
    def wait():
        while not when():
            time.sleep(0.02)
        cluster.remove_node(other, allow_graceful=False)
        os.write(1, b"\\nlost\\n")  # at once: Ray prints what it hears of the node between two words
    threading.Thread(target=wait, daemon=True).start()

class Notes:
    def note(self, text): print("note:", text, flush=True)
    def track(self, *args, **options):
        from raybench.progress import SILENT
        return SILENT.track(*args, **options)

def end():
    cluster.head_node.kill_all_processes(check_alive=False, allow_graceful=False)
    sys.stdout.flush()
    os._exit(0)  # a shutdown in good order waits for the node that is gone
"""
"""The health checks are Ray's own: for some 20 s it does not know that the node is gone."""

SCORES = """
from raybench.cluster.jobs.scoring import score
run, bars, to = sys.argv[1:]

def slowly():
    # In each worker, before its work: a date takes a while, so that no process is done before the node goes.
    from raybench.scoring.job import DayScorer
    score_days = DayScorer.score_days
    def slowed(self, days):
        for result in score_days(self, days):
            time.sleep(0.3)
            yield result
    DayScorer.score_days = slowed

other = begin(runtime_env={"worker_process_setup_hook": slowly})
lose(other, lambda: len(list(Path(to).glob("date=*"))) > 10)
done = score([run], bars=bars, to=to, local=False, progress=Notes())
print("scored", len(done.written), flush=True)
end()
"""

JOURNALS = """
from raybench.cluster.journal import Journal
begin()
here = ray.get_runtime_context().get_node_id()
journals = [Journal() for _ in range(6)]
asked = [each._actor.__ray_call__.remote(lambda self: ray.get_runtime_context().get_node_id()) for each in journals]
there = ray.get(asked)
print("with the driver", there.count(here), flush=True)
end()
"""

TRAINING = """
from raybench.cluster.jobs.training import train
from raybench.errors import ResourceError
config, out = sys.argv[1:]
lost = []
lose(begin(), lambda: lost.append(time.monotonic()) or list(Path(out).glob("checkpoints/*/state.pt")))
try:
    train(config, out=out, progress=Notes())
except ResourceError as error:
    print("refused", error, flush=True)
    print("seconds", time.monotonic() - lost[-1], flush=True)
end()
"""


def on_two_nodes(program: str, *words: str, **variables: str) -> tuple[str, float]:
    """Run a program on such a cluster of its own; what it printed, and how long it took."""
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"} | variables
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="rb", ignore_cleanup_errors=True) as short:  # not where others look for Ray
        environment["RAY_TMPDIR"] = short
        line = [sys.executable, "-c", CLUSTER + program, *words]
        done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout, time.monotonic() - began


def test_dates_of_a_node_that_went_are_scored_by_what_is_left(
    run: str, market_bars: str, whole: str, tmp_path: Path
) -> None:
    said, _ = on_two_nodes(SCORES, run, market_bars, str(tmp_path / "scores"))
    assert "lost" in said.splitlines()
    assert "is done again by another process" in said
    assert f"scored {len(bytes_of(whole))}" in said
    assert bytes_of(tmp_path / "scores") == bytes_of(whole)


def test_what_workers_tell_does_not_go_with_another_node() -> None:
    said, _ = on_two_nodes(JOURNALS)
    assert "with the driver 6" in said.splitlines()


def test_a_training_whose_node_does_not_come_back_ends_with_that_cause(make_config: MakeConfig, tmp_path: Path) -> None:
    config = make_config(
        cluster__num_workers=2, cluster__cpus_per_worker=1, train__max_epochs=2000, train__early_stop__patience=2000
    )
    (tmp_path / "gru.yaml").write_text(dump_config(config))
    said, _ = on_two_nodes(TRAINING, str(tmp_path / "gru.yaml"), str(tmp_path / "run"), RAYBENCH_NODE_SECONDS="20")
    assert "lost" in said.splitlines()
    assert "a node is gone: 2 workers of 1 CPU have no room on 1 node of 1 CPU; waiting for it" in said
    refused = next(line for line in said.splitlines() if line.startswith("refused"))
    assert "a node is gone, and did not come back in 20 s (RAYBENCH_NODE_SECONDS)" in refused
    assert "--resume" in refused
    seconds = float(next(line for line in said.splitlines() if line.startswith("seconds")).split()[1])
    assert seconds < 110  # of which Ray takes 30 to notice
