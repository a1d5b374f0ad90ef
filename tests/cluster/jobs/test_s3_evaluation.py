"""Evaluating a table on an object store: it is listed, and each of its files is read once, in one piece."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from tests.cluster.s3_requests import counted
from tests.cluster.s3_server import BUCKET, upload
from tests.cluster.scored import days_of


def test_each_date_is_asked_for_once(whole: str, market_bars: str, server: Mapping[str, str], tmp_path: Path) -> None:
    upload(whole, "evaluated", server)
    with counted(server["AWS_ENDPOINT_URL"]) as (endpoint, requests):
        line = ["evaluate", "--scores", f"s3://{BUCKET}/evaluated", "--bars", market_bars, "--out", "evaluation", "-q"]
        done = subprocess.run(
            [sys.executable, "-m", "raybench", *line],
            cwd=tmp_path,
            env=os.environ | dict(server) | {"AWS_ENDPOINT_URL": endpoint},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
    asked = Counter(requests)
    for day in days_of(whole):
        path = f"/{BUCKET}/evaluated/date%3D{day}/scores.parquet"
        assert asked.pop(f"GET {path}") == 1
    assert asked.total() <= 8, asked
