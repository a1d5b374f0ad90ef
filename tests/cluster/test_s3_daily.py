"""Mornings on S3: what is asked of the store does not grow with the table, whoever has changed the bars."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from raybench.market.bars import open_bars
from raybench.market.synthetic import UNIVERSE
from tests.cluster.s3_requests import counted
from tests.cluster.s3_server import BUCKET, file_system, upload

FIELDS = ["open", "high", "low", "close", "volume"]
MOST = 20


class Store:
    """A delivery and a table on S3."""

    def __init__(self, folder: Path, server: Mapping[str, str], name: str, start: str) -> None:
        self.folder, self.server, self.name = folder, server, name
        self.files = file_system(server["AWS_ENDPOINT_URL"])
        config = {
            "import": {"source": f"s3://{BUCKET}/{name}/delivered", "universe": {UNIVERSE: f"{folder}/spans.csv"}},
            "bars": f"s3://{BUCKET}/{name}/bars",
            "score": {
                "model": f"s3://{BUCKET}/daily-run",
                "to": f"s3://{BUCKET}/{name}/scores",
                "start": start,
                "local": True,
            },
        }
        (folder / f"{name}.yaml").write_text(json.dumps(config))

    def deliver(self, rows: pd.DataFrame) -> None:
        rows.to_parquet(self.folder / "rows.parquet")
        with self.files.open_output_stream(f"{BUCKET}/{self.name}/delivered/rows.parquet") as stream:
            stream.write((self.folder / "rows.parquet").read_bytes())

    def lengthen(self, many: int, day: str) -> None:
        """So many dates of years before."""
        with self.files.open_input_stream(f"{BUCKET}/{self.name}/scores/date={day}/scores.parquet") as stream:
            data = stream.read()
        for old in np.datetime64("2000-01-03") + np.arange(many):
            with self.files.open_output_stream(f"{BUCKET}/{self.name}/scores/date={old}/scores.parquet") as stream:
                stream.write(data)

    def morning(self) -> tuple[dict[str, Any], list[str]]:
        """What it says, and what it asked for."""
        with counted(self.server["AWS_ENDPOINT_URL"]) as (endpoint, requests):
            line = [sys.executable, "-m", "raybench", "daily", str(self.folder / f"{self.name}.yaml"), "--json", "-q"]
            known = os.environ | dict(self.server) | {"AWS_ENDPOINT_URL": endpoint}
            done = subprocess.run(line, env=known, capture_output=True, text=True, timeout=300)
            assert done.returncode == 0, done.stderr
        return json.loads(done.stdout), list(requests)


@pytest.mark.slow
def test_the_requests_of_a_morning_do_not_grow_with_the_table(
    run: str, market_bars: str, server: Mapping[str, str], tmp_path: Path
) -> None:
    """A new date, nothing new, and rows that come late; 50 dates, and more than one page of a listing has."""
    upload(run, "daily-run", server)
    bars = open_bars(market_bars)
    rows = bars.block().to_frame()[["instrument", "datetime", *FIELDS]].dropna()
    bars.listed(UNIVERSE).to_frame().to_csv(tmp_path / "spans.csv", index=False)
    days = [str(day) for day in bars.calendar[-6:].astype("datetime64[D]")]
    late = (rows["datetime"] == days[-1]) & (rows["instrument"] > "SYN0020")
    seen: dict[int, list[int]] = {}
    for there in (50, 1_100):
        store = Store(tmp_path, server, f"mornings-{there}", days[0])
        store.deliver(rows[rows["datetime"] <= days[-3]])
        told, _ = store.morning()
        assert told["dates_written"] == days[:-2]
        store.lengthen(there, days[0])
        asked: list[list[str]] = []
        for some in (
            rows[rows["datetime"] == days[-2]],
            None,
            rows[(rows["datetime"] == days[-1]) & ~late],
            rows[late],
        ):
            if some is not None:
                store.deliver(some)
            told, requests = store.morning()
            asked.append(requests)
        assert (told["newest"], told["stale"]) == (days[-1], [days[-1]])
        listed = [one for each in asked for one in each if "list-type" in one and "scores" in one]
        assert listed == []
        seen[there] = [len(each) for each in asked]
    assert seen[50] == seen[1_100]
    assert seen[50][1] <= MOST, "nothing has come"
