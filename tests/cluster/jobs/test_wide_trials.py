"""Trials of two workers each, on a Ray of their own, while somebody else starts another on the same machine."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest

from raybench.config import Config, dump_config
from raybench.runs.artifact import load_run
from raybench.search.ledger import DONE, STOPPED
from tests.cluster.conftest import MakeConfig
from tests.cluster.heads import guarded, head_of_its_own

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
    with tempfile.TemporaryDirectory(prefix="rw-", dir="/tmp", ignore_cleanup_errors=True) as short:
        environment = guarded() | {"RAY_TMPDIR": short}
        with _begun(words, tmp_path, environment) as search, head_of_its_own(environment, num_cpus=1):
            said = search.communicate(timeout=300)[1]
    assert search.returncode == 0, said
    assert "is lost" not in said
    trials = pd.read_parquet(tmp_path / "search" / "trials.parquet").set_index("trial_id").sort_index()
    assert trials["status"].to_dict() == {"0000": DONE, "0001": STOPPED, "0002": STOPPED}
    assert trials["epochs"].tolist() == [2, 1, 1]
    best = load_run(str(tmp_path / "search" / "best"))
    assert best.manifest["search"]["trial"] == "0000"
    assert best.metrics["valid_rank_ic"] == trials["metric"]["0000"]


@contextmanager
def _begun(words: list[str], folder: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A search whose first trial has begun."""
    pipe = subprocess.PIPE
    search = subprocess.Popen(words, cwd=folder, env=environment, stdout=pipe, stderr=pipe, text=True)
    try:
        until = time.monotonic() + 120
        while not (folder / "search" / "trials" / "0000").exists():
            assert search.poll() is None, search.communicate()
            assert time.monotonic() < until
            time.sleep(0.2)
        yield search
    finally:
        if search.poll() is None:
            search.terminate()
            search.wait(60)
