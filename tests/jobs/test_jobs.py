"""The scripts of jobs/ as `ray job submit` runs them: a cluster of its own with tokens, each job in turn."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from raybench.cli.app import COMMANDS
from raybench.market.synthetic import make_market
from raybench.scoring.table import dates

ROOT = Path(__file__).parents[2]
JOBS = sorted(path.stem for path in (ROOT / "jobs").glob("[a-z]*.py"))
UPLOAD_MB = 5.0

CONFIG = {
    "data": {
        "bars": "BARS",
        "universe": "all",
        "feature_set": {"type": "alpha158", "columns": ["RESI5", "KLOW", "CORR10", "ROC60"]},
        "step_len": 6,
        "segments": {
            "train": ["2014-03-03", "2014-08-29"],
            "valid": ["2014-09-01", "2014-10-31"],
            "test": ["2014-11-03", "2014-12-31"],
        },
        "embargo": 2,
    },
    "model": {"type": "gru", "hidden_size": 4, "num_layers": 1},
    "train": {"max_epochs": 1, "batch_size": 400},
    "cluster": {"num_workers": 1, "cpus_per_worker": 1},
    "tune": {"num_samples": 2, "space": {"train.lr": {"loguniform": [1e-4, 1e-2]}}},
}


@pytest.mark.parametrize("job", JOBS)
def test_a_job_is_a_command(job: str) -> None:
    script = (ROOT / "jobs" / f"{job}.py").read_text()
    (command,) = re.findall(r'run\("([a-z]+)"\)', script)
    assert COMMANDS[command] == job
    done = subprocess.run(
        [sys.executable, str(ROOT / "jobs" / f"{job}.py"), "--help"], capture_output=True, text=True, cwd="/"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert f"raybench {command}" in done.stdout


def test_an_error_of_the_user_is_one_line_and_code_2() -> None:
    done = subprocess.run(
        [sys.executable, "jobs/train.py", "nowhere.yaml", "--out", "x"], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


def test_little_is_uploaded(tmp_path: Path) -> None:
    packaging = pytest.importorskip("ray._private.runtime_env.packaging")
    package = tmp_path / "package.zip"
    packaging.create_package(str(ROOT), package, include_gitignore=True)
    assert package.stat().st_size < UPLOAD_MB * 2**20
    names = {name.partition("/")[0] for name in zipfile.ZipFile(package).namelist()}
    assert {"raybench", "configs", "jobs"} <= names
    assert not names & {"tests", "docs", "benchmarks", ".git", ".venv", "k8s"}


class Cluster:
    """A head of its own, and `ray job submit` to it."""

    def __init__(self, folder: Path, address: str, environment: dict[str, str]) -> None:
        self.folder, self.address, self.environment = folder, address, environment

    def submit(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Submit a job and wait for its end."""
        command = [ray(), "job", "submit", "--working-dir", ".", "--", "python", *words]
        environment = {**self.environment, "RAY_ADDRESS": self.address, "COLUMNS": "200"}
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)

    def done(self, *words: str) -> dict[str, Any]:
        """Submit a job that has to succeed, and give its summary."""
        ended = self.submit(*words, "--json")
        assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-1000:]
        lines = [line for line in ended.stdout.splitlines() if line.startswith("{")]
        summary: dict[str, Any] = json.loads(lines[-1])
        return summary


def ray() -> str:
    return str(Path(sys.executable).parent / "ray")


def free_port() -> int:
    """A port that Ray takes for a head: those from 10002 to 19999 are its workers'."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if not 10_000 <= port < 20_000:
            return port


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("jobs")
    (folder / "token").write_text(secrets.token_hex(32))
    (folder / "token").chmod(0o600)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(folder / "token")}
    environment |= {"RAY_USAGE_STATS_ENABLED": "0", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    environment.pop("PYTHONPATH", None)  # the code that is submitted is used
    dashboard = free_port()
    with tempfile.TemporaryDirectory(prefix="rj-", dir="/tmp", ignore_cleanup_errors=True) as short:
        command = [ray(), "start", "--head", "--block", f"--port={free_port()}", "--num-cpus=3", f"--temp-dir={short}"]
        command += ["--node-ip-address=127.0.0.1", f"--dashboard-port={dashboard}", "--include-dashboard=true"]
        command += [f"--dashboard-agent-listen-port={free_port()}"]  # the usual one may be another cluster's
        with (folder / "head.log").open("w") as log:
            head = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            address = f"http://127.0.0.1:{dashboard}"
            _wait(address, (folder / "token").read_text(), head)
            made = Cluster(folder, address, environment)
            _wait_for_an_agent(made)
            yield made
        finally:
            head.send_signal(signal.SIGTERM)
            head.wait(60)


def _wait(address: str, token: str, head: subprocess.Popen[bytes]) -> None:
    request = urllib.request.Request(f"{address}/api/version", headers={"Authorization": f"Bearer {token}"})
    for _ in range(240):
        assert head.poll() is None, "the head ended"
        try:
            with urllib.request.urlopen(request, timeout=5):
                return
        except OSError:
            time.sleep(0.5)
    raise AssertionError("the head does not answer")


def _wait_for_an_agent(cluster: Cluster) -> None:
    """The dashboard answers before the node has what starts jobs."""
    for _ in range(20):
        done = cluster.submit("-c", "pass")
        if "No available agent" not in done.stderr:
            assert done.returncode == 0, done.stderr
            return
        time.sleep(2)
    raise AssertionError("no agent came up")


@pytest.mark.ray
@pytest.mark.slow
def test_the_whole_way_by_submitted_jobs(cluster: Cluster) -> None:
    folder = cluster.folder
    market = make_market(instruments=12, years=1)
    market.bars.to_parquet(folder / "market.parquet")
    (folder / "gru.yaml").write_text(yaml.safe_dump(CONFIG))
    config, bars, run = str(folder / "gru.yaml"), str(folder / "bars"), str(folder / "run")
    here = f"data.bars={bars}"
    assert cluster.done("jobs/import_bars.py", str(folder / "market.parquet"), "--to", bars)["instruments"] == 12
    cluster.done("jobs/features.py", "--bars", bars, "--set", "alpha158", "--to", str(folder / "features"))
    assert cluster.done("jobs/train.py", config, here, "--out", run)["epochs"] == 1
    scored = cluster.done("jobs/score.py", "--model", run, "--bars", bars, "--to", str(folder / "scores"))
    assert scored["dates_written"] > 30
    morning = {"bars": bars, "score": {"model": run, "to": str(folder / "mornings"), "start": "2014-12-22"}}
    (folder / "daily.yaml").write_text(yaml.safe_dump(morning))
    cluster.done("jobs/daily.py", str(folder / "daily.yaml"))
    assert dates(str(folder / "mornings")) == dates(str(folder / "scores"), "2014-12-22")
    cluster.done("jobs/tune.py", config, here, "--out", str(folder / "search"))
    assert (folder / "search" / "best" / "model.safetensors").exists()
    cluster.done("jobs/bench.py", config, here, "--seeds", "1", "--out", str(folder / "bench"))
    assert (folder / "bench" / "results.parquet").exists()
    wrong = cluster.submit("jobs/train.py", config, here, "model.hiden_size=3", "--out", str(folder / "other"))
    assert wrong.returncode != 0  # Ray's own code, whatever the job's
    assert "hiden_size" in wrong.stdout + wrong.stderr
    assert "Traceback" not in wrong.stdout
    assert not (folder / "other").exists()
