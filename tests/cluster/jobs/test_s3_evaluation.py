"""Evaluating a table on an object store: it is listed, and each of its files is read once, in one piece."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from raybench.market.bars import open_bars
from raybench.market.synthetic import make_market
from raybench.scoring.table import SCHEMA, date_uri, read_scores, write_date
from tests.cluster.s3_requests import counted
from tests.cluster.s3_server import BUCKET, upload
from tests.cluster.scored import days_of
from tests.small import import_rows


def evaluated(scores: str, bars: str, server: Mapping[str, str], folder: Path) -> Counter[str]:
    """Evaluate in a process of its own; gives what was asked of the store, and how often."""
    with counted(server["AWS_ENDPOINT_URL"]) as (endpoint, requests):
        line = ["evaluate", "--scores", scores, "--bars", bars, "--out", "evaluation", "-q"]
        done = subprocess.run(
            [sys.executable, "-m", "raybench", *line],
            cwd=folder,
            env=os.environ | dict(server) | {"AWS_ENDPOINT_URL": endpoint},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
    return Counter(requests)


def test_each_date_is_asked_for_once(whole: str, market_bars: str, server: Mapping[str, str], tmp_path: Path) -> None:
    upload(whole, "evaluated", server)
    asked = evaluated(f"s3://{BUCKET}/evaluated", market_bars, server, tmp_path)
    for day in days_of(whole):
        path = f"/{BUCKET}/evaluated/date%3D{day}/scores.parquet"
        assert asked.pop(f"GET {path}") == 1
    assert asked.total() <= 8, asked


@pytest.mark.slow
def test_a_thousand_dates_are_a_thousand_requests(
    server: Mapping[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each file once, with footer and columns in one piece, nobody asking for its size; and a page of names or two."""
    for name, value in server.items():
        monkeypatch.setenv(name, value)
    bars = import_rows(make_market(instruments=8, years=5).bars, tmp_path / "bars")
    names, days = open_bars(bars).instruments, open_bars(bars).calendar[-1_010:-10]
    to, rng = f"s3://{BUCKET}/thousand", np.random.default_rng(0)
    for day in days:
        scores = {"instrument": names, "datetime": np.repeat(day, len(names)), "score": rng.normal(size=len(names))}
        write_date(to, str(day.astype("datetime64[D]")), pd.DataFrame(scores), "0123456789abcdef")
    asked = evaluated(to, bars, server, tmp_path)
    paths = [date_uri("/" + to.removeprefix("s3://"), str(day.astype("datetime64[D]"))) for day in days]
    assert [asked.pop(f"GET {path.replace('=', '%3D')}") for path in paths] == [1] * 1_000
    assert asked.total() <= 10, asked
    assert not [request for request in asked if request.startswith("HEAD") and "scores.parquet" in request]


def test_a_date_of_a_whole_market_is_one_request_too(
    server: Mapping[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Most of its bytes are of the columns that are wanted, so a part of the file would hardly be less than all."""
    for name, value in server.items():
        monkeypatch.setenv(name, value)
    rows, to = 5_000, f"s3://{BUCKET}/market"
    names = [f"SH{600_000 + number}" for number in range(rows)]
    scores = {"instrument": names, "datetime": np.repeat(np.datetime64("2020-01-02", "us"), rows)}
    scores["score"] = np.random.default_rng(0).normal(size=rows).astype(np.float32)
    for place in (to, str(tmp_path)):
        write_date(place, "2020-01-02", pd.DataFrame(scores), "0123456789abcdef", {"members": rows})
    with counted(server["AWS_ENDPOINT_URL"]) as (endpoint, requests):
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        assert len(read_scores(to)) == rows
    assert [request for request in requests if "scores.parquet" in request] == [
        f"GET /{BUCKET}/market/date%3D2020-01-02/scores.parquet"
    ]
    group = pq.read_metadata(date_uri(str(tmp_path), "2020-01-02")).row_group(0)
    sizes = {group.column(k).path_in_schema: group.column(k).total_compressed_size for k in range(len(SCHEMA))}
    wanted = sum(sizes[name] for name in ("instrument", "datetime", "score"))
    assert wanted > 0.5 * sum(sizes.values()), sizes
