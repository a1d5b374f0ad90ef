"""A job on a cluster of two nodes with a CPU each, one of which goes away while the job is at work on it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

_DRIVER = """
import os, sys, threading, time
from pathlib import Path
import ray
from ray.cluster_utils import Cluster

config, out, work, *begun = sys.argv[1:]
quick = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 4}
head = {"num_cpus": 1, "include_dashboard": False, "_system_config": quick}
cluster = Cluster(initialize_head=True, head_node_args=head)
ray.init(address=cluster.address, log_to_driver=False)  # before there is another node that it might belong to
other = cluster.add_node(num_cpus=1)

def lose():
    while not all(list(Path(out).glob(pattern)) for pattern in begun):
        time.sleep(0.05)
    cluster.remove_node(other, allow_graceful=False)
    os.write(1, b"\\nlost\\n")  # at once: Ray prints what it hears of the node between two words

threading.Thread(target=lose, daemon=True).start()
exec(work)
os.write(1, b"\\ndone\\n")
cluster.head_node.kill_all_processes(check_alive=False, allow_graceful=False)
os._exit(0)  # a shutdown in good order waits for the node that is gone
"""


def lose_a_node(work: str, config: Path, out: Path, begun: Sequence[str]) -> None:
    """Run the statement ``work`` of ``config`` and ``out``; the node goes when each of ``begun`` matches a file."""
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    with tempfile.TemporaryDirectory(prefix="rb", ignore_cleanup_errors=True) as short:  # not where others look for Ray
        environment["RAY_TMPDIR"] = short
        words = [sys.executable, "-c", _DRIVER, str(config), str(out), work, *begun]
        done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr[-3000:]
    assert {"lost", "done"} <= set(done.stdout.splitlines())  # among what Ray says of the node
