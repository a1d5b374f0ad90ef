"""What makes many runs, and looks at them, on a real S3 server; and nothing secret is left anywhere by it.

One driver does all of it on a cluster with a token, and submits one job to that.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.fs as pafs
import pytest

from raybench.market.synthetic import UNIVERSE, make_market
from tests.cluster.heads import guarded, head_of_its_own
from tests.cluster.s3_server import BUCKET, SECRET, file_system

pytestmark = [pytest.mark.ray, pytest.mark.slow]

ROOT = f"s3://{BUCKET}/fits"
CONFIG = f"""
data:
  bars: {ROOT}/bars
  universe: demo
  feature_set: {{type: alpha158, columns: [RESI5, KLOW, CORR10, ROC60]}}
  step_len: 6
  segments: {{train: [2014-03-01, 2014-08-29], valid: [2014-09-01, 2014-10-31], test: [2014-11-03, 2014-12-31]}}
  embargo: 2
model: {{type: gru, hidden_size: 4, num_layers: 1}}
train: {{max_epochs: 2, batch_size: 400}}
cluster: {{num_workers: 1, cpus_per_worker: 1}}
tune: {{num_samples: 2, scheduler: {{type: fifo}}, space: {{train.lr: {{loguniform: [1e-4, 1e-2]}}}}}}
"""
MORNING = f"""
import: {{source: {ROOT}/market.parquet, universe: {{{UNIVERSE}: {ROOT}/spans.parquet}}}}
bars: {ROOT}/bars
score: {{model: {ROOT}/run, to: {ROOT}/mornings, start: 2014-12-22}}
"""

KILLED = """
import os, sys
from raybench.cli.app import run
from raybench.training import checkpoints
publish = checkpoints.publish
def once(*given):
    publish(*given)
    os._exit(9)
checkpoints.publish = once
run(sys.argv[1:])
"""
"""A training that is killed after its first epoch."""

DRIVER = """
import json, os, sys, time
from raybench.cli.app import run
from raybench.cluster.session import session
given = json.load(sys.stdin)
with session():
    for line in given["lines"]:
        code = run([*line, "--quiet", "--json"])
        if code:
            sys.exit(f"{line}: exit code {code}")
    from ray.job_submission import JobSubmissionClient
    client = JobSubmissionClient(given["dashboard"])
    job = client.submit_job(entrypoint=" ".join([sys.executable, "-m", "raybench", *given["job"]]))
    until = time.monotonic() + 120
    while not client.get_job_status(job).is_terminal() and time.monotonic() < until:
        time.sleep(0.5)
    known = [each.model_dump(mode="json") for each in client.list_jobs()]
    print(json.dumps({"status": client.get_job_status(job).value, "jobs": known, "logs": client.get_job_logs(job)}))
"""


@dataclass(frozen=True, kw_only=True)
class Done:
    """What came of it: the summaries of the commands by name, the job, everything said, Ray's files, and its token."""

    said: Mapping[str, Any]
    job: Mapping[str, Any]
    told: str
    ray_files: Path
    token: str
    store: pafs.S3FileSystem
    unbroken: Path

    def read(self, name: str) -> bytes:
        with self.store.open_input_file(f"{BUCKET}/fits/{name}") as stream:
            return bytes(stream.read())

    def names(self) -> list[str]:
        selector = pafs.FileSelector(f"{BUCKET}/fits", recursive=True)
        return [
            each.path.removeprefix(f"{BUCKET}/fits/") for each in self.store.get_file_info(selector) if each.is_file
        ]


def commands(unbroken: Path) -> dict[str, list[str]]:
    """The commands, by name; the training that goes on is the first."""
    config, runs = f"{ROOT}/config.yaml", [f"{ROOT}/run", f"{ROOT}/seeds"]
    return {
        "resume": ["train", config, "--out", f"{ROOT}/run", "--resume"],
        "unbroken": ["train", config, "--out", str(unbroken), "--local"],
        "seeds": ["train", config, "model.hidden_size=3", "--seeds", "2", "--out", f"{ROOT}/seeds", "--local"],
        "tune": ["tune", config, "train.max_epochs=1", "--out", f"{ROOT}/search"],
        "bench": ["bench", config, "train.max_epochs=1", "--seeds", "2", "--out", f"{ROOT}/bench"],
        "daily": ["daily", f"{ROOT}/morning.yaml"],
        "daily again": ["daily", f"{ROOT}/morning.yaml"],
        "status": ["status", f"{ROOT}/mornings", "--bars", f"{ROOT}/bars"],
        "compare": ["compare", *runs, "--out", f"{ROOT}/comparison"],
        "export": ["export", "--model", f"{ROOT}/run", "--to", f"{ROOT}/gru.onnx", "--format", "onnx"],
        "init": ["init", "--bars", f"{ROOT}/bars", "--to", f"{ROOT}/drafted.yaml"],
    }


@pytest.fixture(scope="module")
def done(server: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Done]:
    folder = tmp_path_factory.mktemp("fits")
    store = file_system(server["AWS_ENDPOINT_URL"])
    _lay_out(store)
    environment = guarded() | server
    lines = commands(folder / "unbroken")
    score = ["score", "--model", f"{ROOT}/run", "--bars", f"{ROOT}/bars", "--to", f"{ROOT}/scores"]
    with tempfile.TemporaryDirectory(prefix="rs-", dir="/tmp", ignore_cleanup_errors=True) as short:
        environment["RAY_TMPDIR"] = short
        bars = ["import", f"{ROOT}/market.parquet", "--to", f"{ROOT}/bars"]
        bars += ["--universe", f"{UNIVERSE}={ROOT}/spans.parquet", "-q"]
        _run(["-m", "raybench", *bars], environment)
        train = ["train", f"{ROOT}/config.yaml", "--out", f"{ROOT}/run", "--local", "-q"]
        _run(["-c", KILLED, *train], environment, code=9)
        given: dict[str, Any] = {"lines": list(lines.values()), "job": [*score, "--start", "2014-12-22", "-q"]}
        with head_of_its_own(environment, num_cpus=3) as head:
            given["dashboard"] = head.dashboard
            joining = {**environment, "RAY_ADDRESS": head.address}
            ended = _run(["-c", DRIVER], joining, given=json.dumps(given))
        *summaries, job = [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("{")]
        yield Done(
            said=dict(zip(lines, summaries, strict=True)),
            job=job,
            told=ended.stdout + ended.stderr,
            ray_files=Path(short),
            token=environment["RAY_AUTH_TOKEN"],
            store=store,
            unbroken=folder / "unbroken",
        )


def _run(
    line: list[str], environment: Mapping[str, str], *, given: str = "", code: int = 0
) -> subprocess.CompletedProcess[str]:
    ended = subprocess.run(
        [sys.executable, *line], input=given, capture_output=True, text=True, env=environment, timeout=400
    )
    assert ended.returncode == code, ended.stdout[-2000:] + ended.stderr[-4000:]
    return ended


def _lay_out(store: pafs.S3FileSystem) -> None:
    """Put a market, its universe and two configurations into the bucket."""
    market = make_market(instruments=24, years=1)
    contents = {"config.yaml": CONFIG.encode(), "morning.yaml": MORNING.encode()}
    for name, frame in (("market", market.bars), ("spans", market.spans)):
        contents[f"{name}.parquet"] = frame.to_parquet()
    for name, data in contents.items():
        with store.open_output_stream(f"{BUCKET}/fits/{name}") as stream:
            stream.write(data)


def test_a_killed_training_goes_on_to_what_an_unbroken_one_comes_to(done: Done) -> None:
    assert done.read("run/model.safetensors") == (done.unbroken / "model.safetensors").read_bytes()
    history, whole = (
        pd.read_parquet(source)[["epoch", "train_loss", "valid_rank_ic"]]
        for source in (io.BytesIO(done.read("run/history.parquet")), done.unbroken / "history.parquet")
    )
    pd.testing.assert_frame_equal(history, whole, check_exact=True)


def test_seeds_search_and_bench_are_there_as_a_whole(done: Done) -> None:
    assert list(pd.read_parquet(io.BytesIO(done.read("seeds/seeds.parquet")))["seed"]) == [0, 1]
    trials = pd.read_parquet(io.BytesIO(done.read("search/trials.parquet")))
    assert list(trials["status"]) == ["done", "done"]
    assert json.loads(done.read("search/search.json"))["run_id"] == done.said["tune"]["run_id"]
    results = pd.read_parquet(io.BytesIO(done.read("bench/results.parquet")))
    assert results["error"].isna().all()
    assert results["Rank IC"].between(-1, 1).all()
    assert list(results["seed"]) == [0, 1]
    assert json.loads(done.read("bench/bench.json"))["ended"]["failed"] == 0
    for page in ("search", "search/evaluation", "bench", "comparison"):
        assert done.read(f"{page}/report.html").rstrip().endswith(b"</html>")
        assert json.loads(done.read(f"{page}/report.json"))
    left = [name for name in done.names() if ".staging" in name or name.endswith(".claim") or "search/ray/" in name]
    assert left == []


def test_mornings_and_what_is_made_of_runs(done: Done) -> None:
    assert done.said["daily"]["up_to_date"]
    assert len(done.said["daily"]["dates_written"]) > 3
    assert (done.said["daily again"]["dates_written"], done.said["daily again"]["up_to_date"]) == ([], True)
    assert done.said["status"]["last_job"]["written"] == done.said["daily"]["dates_written"]
    assert done.said["compare"]["common_dates"] > 20
    assert len(done.read("gru.onnx")) == done.said["export"]["bytes"]
    assert done.read("drafted.yaml").startswith(b"#")


def test_nothing_secret_is_in_what_is_said_logged_kept_or_known_of_a_job(done: Done) -> None:
    assert done.job["status"] == "SUCCEEDED", done.job["logs"]
    assert any("raybench score" in str(each["entrypoint"]) for each in done.job["jobs"])
    logs = [path for path in done.ray_files.rglob("*") if path.is_file() and not path.is_symlink()]
    assert any(path.name.startswith("job-driver-") for path in logs)
    assert any(path.name.startswith("worker-") for path in logs)
    for secret in (SECRET, done.token):
        assert secret not in done.told
        found = {path.name: path.read_bytes() for path in logs}
        at = {name: data.index(secret.encode()) for name, data in found.items() if secret.encode() in data}
        assert {name: found[name][max(0, k - 300) : k].decode() for name, k in at.items()} == {}
        assert [name for name in done.names() if secret.encode() in done.read(name)] == []
