"""A disk that fills up, and one that is read only: one line, exit code 2, and nothing is taken for whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

import raybench
from raybench.config import Config, dump_config
from raybench.market.bars import open_bars
from tests.cluster.jobs.no_room import APART, LOOKS

pytestmark = [pytest.mark.slow, pytest.mark.ray]
MakeConfig = Callable[..., Config]
ROOT = Path(raybench.__file__).parents[1]
FULL = "No space left on device"
READ_ONLY = "Read-only file system"


def done_apart(task: str, lines: Mapping[str, Sequence[str]], folder: Path) -> list[dict[str, Any]]:
    """What ``no_room`` prints, in a process with mounts of its own."""
    tried = [*APART, "mount", "-t", "tmpfs", "tmpfs", str(folder)]
    if subprocess.run(tried, capture_output=True, check=False).returncode:
        pytest.skip("needs to mount a small disk: user namespaces are not allowed here")
    given = json.dumps({"task": task, "folder": str(folder), "lines": lines})
    with tempfile.TemporaryDirectory(prefix="rb", dir="/tmp", ignore_cleanup_errors=True) as short:
        environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"} | {"RAY_TMPDIR": short}
        line = [*APART, sys.executable, "-m", "tests.cluster.jobs.no_room"]
        done = subprocess.run(line, input=given, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def typed(
    make_config: MakeConfig, run: str, market_bars: str, whole: str, tmp_path: Path
) -> Mapping[str, Sequence[str]]:
    """Commands that write below ``{disk}``, by name, each with little to do."""
    rows = open_bars(market_bars).block().to_frame()
    rows[rows["datetime"] >= "2015-09-01"].dropna(subset=["close"]).to_parquet(tmp_path / "bars.parquet")
    config = make_config(
        cluster__num_workers=1,
        train__max_epochs=2,
        train__batch_size=2_000,
        data__segments__test="[2015-12-01, 2015-12-31]",
        data__embargo=2,
        tune__num_samples=2,
        tune__scheduler="{type: fifo}",
        tune__space="{train.lr: {loguniform: [1e-3, 1e-2]}}",
    )
    (tmp_path / "config.yaml").write_text(dump_config(config))
    typed, bars = str(tmp_path / "config.yaml"), ["--bars", market_bars]
    score = ["score", "--model", run, *bars, "--start", "2015-12-01", "--to", "{disk}/scores"]
    explain = ["explain", "--model", run, *bars, "--date", "2015-12-30", "--repeats", "1"]
    return {
        "import": ["import", str(tmp_path / "bars.parquet"), "--to", "{disk}/bars"],
        "features": [
            "features",
            *bars,
            "--set",
            "alpha360",
            "--start",
            "2015-12-01",
            "--to",
            "{disk}/features",
            "--local",
        ],
        "train": ["train", typed, "--out", "{disk}/run", "--local"],
        "score": [*score, "--local"],
        "score on Ray": [*score, "--ray"],
        "evaluate": ["evaluate", "--scores", whole, *bars, "--out", "{disk}/evaluation"],
        "explain": [*explain, "--local", "--out", "{disk}/explanation"],
        "tune": ["tune", typed, "--out", "{disk}/search"],
    }


def test_a_full_disk_is_one_line_and_room_is_all_that_the_same_command_needs(
    typed: Mapping[str, Sequence[str]], tmp_path: Path
) -> None:
    (tmp_path / "disks").mkdir()
    found = done_apart("full", typed, tmp_path / "disks")
    assert {each["name"] for each in found} == set(LOOKS)
    for each in found:
        assert (each["code"], each["told"].count("\n")) == (2, 1), each
        assert FULL in each["told"], each
        assert "make room" in each["told"], each
        assert not each["torn"], each
        assert (each["again"], each["same"]) == (0, True), each


LATE = ("init", "daily")
"""What writes as soon as it knows what, with no long work before."""


def test_a_place_that_is_read_only_is_one_line_before_the_work(
    typed: Mapping[str, Sequence[str]], run: str, other_run: str, market_bars: str, tmp_path: Path
) -> None:
    config = typed["tune"][1]
    morning = {
        "import": {"source": str(tmp_path / "bars.parquet")},
        "bars": "MOUNTED/bars",
        "score": {"model": run, "to": "MOUNTED/scores"},
    }
    (tmp_path / "disks").mkdir()
    text = json.dumps(morning).replace("MOUNTED", str(tmp_path / "disks" / "disk"))
    (tmp_path / "morning.yaml").write_text(text)
    lines = {
        **{name: words for name, words in typed.items() if name != "score on Ray"},
        "train --seeds": ["train", config, "--seeds", "2", "--out", "{disk}/runs"],
        "bench": ["bench", config, "--out", "{disk}/bench"],
        "adopt": ["adopt", "--weights", f"{run}/model.safetensors", "--config", config, "--out", "{disk}/adopted"],
        "compare": ["compare", run, other_run, "--out", "{disk}/comparison"],
        "export": ["export", "--model", run, "--to", "{disk}/gru.onnx", "--format", "onnx"],
        "demo": ["demo", "--out", "{disk}/demo"],
        "init": ["init", "--bars", market_bars, "--to", "{disk}/gru.yaml"],
        "daily": ["daily", str(tmp_path / "morning.yaml")],
    }
    found = {each["name"]: each for each in done_apart("read only", lines, tmp_path / "disks")}
    assert found.keys() == lines.keys()
    for name, each in found.items():
        assert (each["code"], each["told"].count("\n")) == (2, 1), each
        assert READ_ONLY in each["told"], each
        if name not in LATE:
            assert f"disk cannot be written: {READ_ONLY}; choose another place (--" in each["told"], each
