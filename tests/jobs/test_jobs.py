"""The scripts of jobs/ as `ray job submit` runs them: a cluster of its own with tokens, each job in turn."""

from __future__ import annotations

import json
import os
import re
import secrets
import shlex
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from raybench.cli.app import COMMANDS
from raybench.market.synthetic import make_market
from raybench.scoring.table import dates
from tests.cluster.heads import head_of_its_own, ray_command
from tests.k8s.api_server import script
from tests.k8s.built import built, of_kind, ray_job
from tests.k8s.watched import NOT_RAYS, ON_GPUS, asked_for

ROOT = Path(__file__).parents[2]
JOBS = sorted(path.stem for path in (ROOT / "jobs").glob("[a-z]*.py"))
UPLOAD_MB = 5.0

CONFIG: dict[str, Any] = {
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

    def __init__(self, folder: Path, address: str, environment: dict[str, str], metrics: int) -> None:
        self.folder, self.address, self.environment = folder, address, environment
        self.metrics = metrics  # port of what Prometheus reads

    def submit(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Submit a job and wait for its end."""
        command = [ray_command(), "job", "submit", "--working-dir", ".", "--", "python", *words]
        environment = {**self.environment, "RAY_ADDRESS": self.address, "COLUMNS": "200"}
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)

    def done(self, *words: str) -> dict[str, Any]:
        """Submit a job that has to succeed, and give its summary."""
        ended = self.submit(*words, *({"--json"} - {*words}))
        assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-1000:]
        return _summary(ended.stdout)

    def done_as_in(self, overlay: str) -> dict[str, Any]:
        """Submit what the RayJob of an overlay of k8s/ runs, as kustomize builds it, with the folder of this code."""
        entry = ray_job(of_kind("RayJob", built(overlay))[0])["entrypoint"]
        python, *words = shlex.split(entry.replace("$RAYBENCH_STORE", str(self.folder)))
        assert python == "python"
        return self.done(*words)

    def done_as_on_kubernetes(self, overlay: str) -> dict[str, Any]:
        """The same as KubeRay does it: over HTTP, without a folder, the variable left to a shell."""
        job = ray_job(of_kind("RayJob", built(overlay))[0])
        assert job["submissionMode"] == "HTTPMode"
        name = self._ask("/api/jobs/", {"entrypoint": job["entrypoint"]})["submission_id"]
        for _ in range(600):
            found = self._ask(f"/api/jobs/{name}")
            if found["status"] in ("SUCCEEDED", "FAILED", "STOPPED"):
                break
            time.sleep(0.5)
        logs = self._ask(f"/api/jobs/{name}/logs")["logs"]
        assert found["status"] == "SUCCEEDED", found["message"] + logs[-3000:]
        return _summary(logs)

    def _ask(self, path: str, body: Any = None) -> Any:
        headers = {"Authorization": f"Bearer {(self.folder / 'token').read_text()}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(urllib.request.Request(self.address + path, data, headers), timeout=30) as answer:
            return json.load(answer)


def _summary(logs: str) -> dict[str, Any]:
    """The summary among the objects of a log."""
    lines = [line for line in logs.splitlines() if line.startswith("{")]
    (summary,) = [found for line in lines if "warnings" in (found := json.loads(line))]
    assert isinstance(summary, dict)
    return summary


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("jobs")
    (folder / "token").write_text(secrets.token_hex(32))
    (folder / "token").chmod(0o600)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(folder / "token")}
    environment |= {"RAY_USAGE_STATS_ENABLED": "0", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    environment.pop("PYTHONPATH", None)  # the code that is submitted is used
    environment["RAYBENCH_STORE"] = str(folder)  # as the pods of k8s/ have it
    often = '--system-config={"metrics_report_interval_ms": 1000}'  # trainings here take less than the usual 10
    with tempfile.TemporaryDirectory(prefix="rj-", dir="/tmp", ignore_cleanup_errors=True) as short:
        options = [f"--temp-dir={short}", often]
        with head_of_its_own(environment, num_cpus=3, options=options, cwd=ROOT) as head:
            made = Cluster(folder, head.dashboard, environment, head.metrics)
            _wait_for_an_agent(made)
            yield made


def _wait_for_an_agent(cluster: Cluster) -> None:
    """The dashboard answers before the node has what starts jobs."""
    for _ in range(20):
        done = cluster.submit("-c", "pass")
        if "No available agent" not in done.stderr:
            assert done.returncode == 0, done.stderr
            return
        time.sleep(2)
    raise AssertionError("no agent came up")


class Scraper(threading.Thread):
    """Reads the metrics of a node every half a second, as Prometheus does more seldom."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.url, self.ended = f"http://127.0.0.1:{port}/metrics", threading.Event()
        self.seen: dict[str, dict[str, float]] = {}  # the last value of each series, by its name and its labels

    def run(self) -> None:
        while not self.ended.wait(0.5):
            with suppress(OSError), urllib.request.urlopen(self.url, timeout=5) as answer:
                for line in answer.read().decode().splitlines():
                    found = re.fullmatch(r"(\w+)\{(.*)\} (\S+)", line)
                    if found is not None:
                        self.seen.setdefault(found[1], {})[found[2]] = float(found[3])

    def value(self, name: str, tag: str) -> float:
        """The value of the only series of a name that has a tag."""
        (value,) = {value for labels, value in self.seen[name].items() if tag in labels}
        return value


@pytest.fixture
def scraped(cluster: Cluster) -> Iterator[Scraper]:
    scraper = Scraper(cluster.metrics)
    scraper.start()
    yield scraper
    scraper.ended.set()
    scraper.join()


@pytest.mark.ray
@pytest.mark.slow
def test_the_whole_way_by_submitted_jobs(cluster: Cluster, scraped: Scraper) -> None:
    folder = cluster.folder
    market = make_market(instruments=12, years=1)
    market.bars.to_parquet(folder / "market.parquet")
    bars, run, here = str(folder / "bars"), str(folder / "runs" / "train"), f"data.bars={folder / 'bars'}"
    (folder / "config").mkdir()
    CONFIG["data"]["bars"] = bars
    for name in ("train", "search"):
        (folder / "config" / f"{name}.yaml").write_text(yaml.safe_dump(CONFIG))
    config = str(folder / "config" / "train.yaml")
    assert cluster.done("jobs/import_bars.py", str(folder / "market.parquet"), "--to", bars)["instruments"] == 12
    cluster.done("jobs/features.py", "--bars", bars, "--set", "alpha158", "--to", str(folder / "features"))
    assert cluster.done_as_in("training")["run"] == run
    scored = cluster.done("jobs/score.py", "--model", run, "--bars", bars, "--to", str(folder / "scores"))
    assert scored["dates_written"] > 30
    morning = {"bars": bars, "score": {"model": run, "to": str(folder / "mornings"), "start": "2014-12-22"}}
    (folder / "config" / "daily.yaml").write_text(yaml.safe_dump(morning))
    assert cluster.done_as_in("daily")["up_to_date"]
    assert dates(str(folder / "mornings")) == dates(str(folder / "scores"), "2014-12-22")
    cluster.done_as_in("search")
    assert cluster.done_as_on_kubernetes("daily")["dates_written"] == []  # it is up to date
    assert (folder / "searches" / "search" / "best" / "model.safetensors").exists()
    cluster.done("jobs/bench.py", config, here, "--seeds", "1", "--out", str(folder / "bench"))
    assert (folder / "bench" / "results.parquet").exists()
    wrong = cluster.submit("jobs/train.py", config, here, "model.hiden_size=3", "--out", str(folder / "other"))
    assert wrong.returncode != 0  # Ray's own code, whatever the job's; what it says, the CronJob's pod understands
    assert script().outcome({"status": {"jobStatus": "FAILED", "message": wrong.stdout}})[0] == 2
    assert "hiden_size" in wrong.stdout + wrong.stderr
    assert "Traceback" not in wrong.stdout
    assert not (folder / "other").exists()
    _check_metrics(scraped, folder)


def _check_metrics(scraped: Scraper, folder: Path) -> None:
    """What the dashboard and the alerts of k8s/ ask for was exported, and says what the jobs did."""
    assert asked_for() - scraped.seen.keys() - ON_GPUS - NOT_RAYS == set()
    newest = max(dates(str(folder / "scores")))
    midnight = datetime.combine(newest, datetime.min.time(), UTC).timestamp()
    for name in ("scores", "mornings"):
        table = f'scores="{folder / name}"'
        assert scraped.value("ray_raybench_last_scored_date_seconds", table) == midnight
        assert scraped.value("ray_raybench_refused_dates", table) == 0
        rows = pq.read_metadata(folder / name / f"date={newest}" / "scores.parquet").num_rows
        assert scraped.value("ray_raybench_scored_rows", f'date="{newest}",') == rows
    assert scraped.value("ray_raybench_training_epoch", f'run="{folder / "runs" / "train"}"') == 1
