"""The whole way on a real S3 server: the same commands with s3:// addresses give what local folders give.

s3fs is out of reach, installed or not: neither raybench nor who reads its tables needs it.
"""

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
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest
import safetensors.torch
import torch

from raybench.market.synthetic import UNIVERSE, make_market
from tests.cluster.s3_server import BUCKET, file_system

pytestmark = [pytest.mark.ray, pytest.mark.slow]

CONFIG = """
data:
  bars: {root}/bars
  features: {root}/features
  universe: demo
  feature_set: {{type: alpha158, columns: [RESI5, KLOW, CORR10, ROC60]}}
  step_len: 6
  segments: {{train: [2014-03-01, 2014-08-29], valid: [2014-09-01, 2014-10-31], test: [2014-11-03, 2014-12-31]}}
  embargo: 2
model: {{type: gru, hidden_size: 4, num_layers: 1}}
train: {{max_epochs: 1, batch_size: 400}}
cluster: {{num_workers: 1, cpus_per_worker: 1}}
"""

# One process and one Ray for all commands, as in a notebook. The AWS variables are there before either starts.
DRIVER = """
import json, sys
sys.modules["s3fs"] = None
from raybench.cli.app import run
from raybench.cluster.session import session
with session(num_cpus=3):
    for line in json.load(sys.stdin):
        code = run([*line, "--quiet", "--json"])
        if code:
            sys.exit(f"{line}: exit code {code}")
"""


READERS = """
import sys
sys.modules["s3fs"] = None
import pandas, polars, pyarrow as pa, pyarrow.dataset
from raybench.storage.files import publish_table
publish_table("s3://bucket/read/date=2020-01-01/scores.parquet", pa.table({"score": [1.0, 2.0]}))
print(len(pandas.read_parquet("s3://bucket/read")))
print(len(polars.read_parquet("s3://bucket/read/**/*.parquet", hive_partitioning=True)))
print(len(pyarrow.dataset.dataset("s3://bucket/read", partitioning="hive").to_table()))
import ray
ray.init("local", num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
ray.data.DataContext.get_current().enable_progress_bars = False
print(ray.data.read_parquet("s3://bucket/read").count())
"""


def commands(root: str, *how: str) -> list[list[str]]:
    """The whole way below ``root``, and adoption of the weights it makes."""
    bars, features, run, scores = (f"{root}/{name}" for name in ("bars", "features", "run", "scores"))
    config = f"{root}/config.yaml"
    explain = ["explain", "--model", run, "--bars", bars, "--date", "2014-11-20", "--repeats", "1"]
    explain += ["--out", f"{root}/explained", *how]
    return [
        ["import", f"{root}/market.parquet", "--to", bars, "--universe", f"{UNIVERSE}={root}/spans.parquet"],
        ["features", "--bars", bars, "--set", "alpha158", "--to", features],
        ["train", config, "--out", run],
        ["score", "--model", run, "--bars", bars, "--features", features, "--to", scores, *how],
        ["score", "--model", run, "--bars", bars, "--to", scores],
        ["evaluate", "--scores", scores, "--bars", bars, "--out", f"{root}/evaluation"],
        ["adopt", "--weights", f"{run}/model.safetensors", "--config", config, "--out", f"{root}/adopted"],
        [*explain, "--features", features, "--instruments", "SYN0001,SYN0002"],
        explain,  # over the one before, which had a table more
    ]


def test_every_command_works_on_s3_as_it_does_on_a_disk(server: Mapping[str, str], tmp_path: Path) -> None:
    s3, local = file_system(server["AWS_ENDPOINT_URL"]), pafs.LocalFileSystem()
    root = {"s3": f"{BUCKET}/way", "local": str(tmp_path)}
    address = {"s3": f"s3://{BUCKET}/way", "local": str(tmp_path)}
    lay_out(s3, root["s3"], address["s3"])
    lay_out(local, root["local"], address["local"])
    lines = commands(address["s3"]) + commands(address["local"], "--local")
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"} | server
    done = subprocess.run(
        [sys.executable, "-c", DRIVER], input=json.dumps(lines), capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    said = [json.loads(line) for line in done.stdout.splitlines()]
    for summary in (said[4], said[len(said) // 2 + 4]):
        assert (summary["dates_written"], summary["dates_present_before"]) == (0, said[3]["dates_written"])
    there, here = Folder(s3, root["s3"]), Folder(local, root["local"])
    assert_equal_results(there, here)
    assert not [name for name in there.names() if "staging" in name], "on S3 there is nothing to put aside"
    assert {name.rpartition(".")[2] for name in there.names("scores")} == {"parquet"}


class Folder:
    """Reading what lies below a folder, wherever it is."""

    def __init__(self, files: Any, root: str) -> None:
        self._files, self._root = files, root

    def names(self, folder: str = "") -> list[str]:
        selector = pafs.FileSelector(f"{self._root}/{folder}".rstrip("/"), recursive=True)
        return sorted(i.path.removeprefix(self._root + "/") for i in self._files.get_file_info(selector) if i.is_file)

    def read(self, name: str) -> bytes:
        with self._files.open_input_file(f"{self._root}/{name}") as stream:
            return bytes(stream.read())

    def json(self, name: str) -> Any:
        return json.loads(self.read(name))

    def frame(self, name: str) -> pd.DataFrame:
        return pq.read_table(pa.BufferReader(self.read(name)), partitioning=None).to_pandas()


def assert_equal_results(there: Folder, here: Folder) -> None:
    """Bars, features and explanations byte by byte, weights and scores bit by bit, metrics as numbers."""
    for folder in ("bars/bars", "bars/calendar", "bars/universe", "features"):
        assert there.names(folder) == here.names(folder)
        assert all(there.read(name) == here.read(name) for name in there.names(folder))
    for run in ("run", "adopted"):
        weights = [safetensors.torch.load(place.read(f"{run}/model.safetensors")) for place in (there, here)]
        assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
        assert there.json(f"{run}/processors.json") == here.json(f"{run}/processors.json")
        assert there.json(f"{run}/manifest.json")["samples"] == here.json(f"{run}/manifest.json")["samples"]
    assert there.names("scores") == here.names("scores")
    assert len(there.names("scores")) > 30
    for name in there.names("scores"):
        frames = [place.frame(name).drop(columns="run_id") for place in (there, here)]
        pd.testing.assert_frame_equal(*frames, check_exact=True)
    tables = [name for name in here.names("explained") if name.endswith(".parquet")]
    assert there.names("explained") == here.names("explained")
    assert "explained/gate_units.parquet" not in tables
    assert all(there.read(name) == here.read(name) for name in tables)
    metrics = [place.json("evaluation/metrics.json") for place in (there, here)]
    assert metrics[0].keys() == metrics[1].keys()
    numbers = [[value for value in found.values() if isinstance(value, float)] for found in metrics]
    np.testing.assert_array_equal(*numbers)
    assert len(numbers[0]) >= 4
    assert b"<html" in there.read("evaluation/report.html")


def test_others_read_what_is_published_on_s3(server: Mapping[str, str]) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"} | server
    environment["AWS_ALLOW_HTTP"] = "true"  # asked for by polars
    done = subprocess.run([sys.executable, "-c", READERS], capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stdout.split()) == (0, ["2"] * 4), done.stderr


def lay_out(files: Any, root: str, address: str) -> None:
    """Put a market, its universe and a configuration where a user would have them."""
    market = make_market(instruments=24, years=1)
    files.create_dir(root)
    for name, frame in (("market", market.bars), ("spans", market.spans)):
        table = pa.Table.from_pandas(frame, preserve_index=False)
        pq.write_table(table, f"{root}/{name}.parquet", filesystem=files)
    with files.open_output_stream(f"{root}/config.yaml") as stream:
        stream.write(CONFIG.format(root=address).encode())
