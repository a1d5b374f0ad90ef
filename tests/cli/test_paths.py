"""Every command that takes paths, with relative ones, from elsewhere, through ``~`` and through links."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from raybench.config import parse_config
from raybench.market.synthetic import make_market
from raybench.models import build

ROOT = Path(__file__).parents[2]
CONFIG = """
data:
  bars: {bars}
  universe: all
  feature_set: {{type: alpha158, columns: [KMID, ROC5]}}
  step_len: 4
  embargo: 2
  segments: {{train: [2014-03-03, 2014-07-31], valid: [2014-08-01, 2014-09-30], test: [2014-10-01, 2014-12-31]}}
model: {{type: gru, hidden_size: 4, num_layers: 1}}
train: {{max_epochs: 1, batch_size: 500}}
cluster: {{num_workers: 1, cpus_per_worker: 1}}
"""

Named = Callable[[str], str]
STYLES: dict[str, tuple[str, Named]] = {
    "relative": (".", lambda name: name),
    "from elsewhere": ("deep/er", lambda name: f".././../{name}"),
    "home": ("deep", lambda name: f"~/{name}"),
    "through a link": ("deep", lambda name: f"link/{name}"),
}


@pytest.fixture
def room(tmp_path: Path) -> Path:
    """A folder with a small market, a network's weights and links, which is also HOME."""
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "link").symlink_to(tmp_path)
    market = make_market(instruments=8, years=1)
    market.bars.to_parquet(tmp_path / "market.parquet")
    (tmp_path / "late.csv").write_text("instrument,start,end\nSYN0001,2014-03-03,2014-12-31\n")
    network = build({"type": "gru", "hidden_size": 4, "num_layers": 1}, feature_set=two_columns(), step_len=4)
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    return tmp_path


def two_columns() -> dict[str, Any]:
    return {"type": "alpha158", "columns": ["KMID", "ROC5"]}


def lines_of(name: Named, where: str) -> list[list[str]]:
    """The command lines of a first day; ``where`` training runs, --ray or --local."""
    model, bars = ["--model", name("run")], ["--bars", name("bars")]
    train = ["train", name("config.yaml"), "--out", name("run"), where]
    late = ["--universe", f"late={name('late.csv')}"]
    export = ["export", *model, "--format", "onnx", "--to", name("run.onnx")]
    return [
        ["import", name("market.parquet"), "--to", name("bars"), *late],
        ["check", name("config.yaml")],
        ["features", *bars, "--set", "alpha158", "--to", name("features")],
        train,
        train,
        [*train, "--resume"],
        ["score", *model, *bars, "--to", name("scores"), "--start", "2014-12-24", "--local"],
        ["evaluate", "--scores", name("scores"), *bars, "--config", name("config.yaml"), "--out", name("evaluation")],
        ["explain", *model, *bars, "--date", "2014-12-24", "--out", name("explanation"), "--local"],
        ["adopt", "--weights", name("weights.pt"), "--config", name("config.yaml"), "--out", name("adopted")],
        ["adopt", "--weights", name("weights.pt"), "--config", name("config.yaml"), "--out", name("adopted")],
        ["compare", name("run"), name("adopted"), "--out", name("comparison")],
        [*export, "--trust"],
    ]


def type_in(room: Path, folder: str, lines: list[list[str]]) -> list[tuple[int, str, str]]:
    """Type command lines in ``folder``, HOME being ``room``; give code, last line of output and errors of each."""
    environment = {**os.environ, "HOME": str(room), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    environment.pop("RAY_ADDRESS", None)  # which asks for Ray; no other's cluster is found, see tests/conftest.py
    program = [sys.executable, str(ROOT / "tests" / "cli" / "typed.py"), json.dumps(lines)]
    done = subprocess.run(
        program,
        cwd=room / folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    return [tuple(result) for result in json.loads(done.stdout.splitlines()[-1])]


@pytest.mark.slow
@pytest.mark.parametrize(
    "style", [pytest.param(style, marks=pytest.mark.ray if style == "relative" else ()) for style in STYLES]
)
def test_every_command_takes_paths_of_any_style(room: Path, style: str) -> None:
    folder, name = STYLES[style]
    (room / "config.yaml").write_text(CONFIG.format(bars=name("bars")))
    lines = lines_of(name, "--ray" if style == "relative" else "--local")
    results = type_in(room, folder, [[*line, "--json"] for line in lines])
    for line, (code, _, said) in zip(lines, results, strict=True):
        assert code == 0, (line, said)
        assert "is not there" not in said  # what check warns of
    trained = [json.loads(results[at][1])["run_id"] for at in (3, 4, 5)]
    assert len(set(trained)) == 1
    made = {"bars", "features", "run", "scores", "evaluation", "explanation", "adopted", "run.onnx"}
    assert made <= {path.name for path in room.iterdir()}
    assert {path.name for path in (room / folder).iterdir()} <= {path.name for path in room.iterdir()} | {"er", "link"}
    stored = parse_config((room / "run" / "config.yaml").read_text()).data.bars
    assert stored is not None
    assert os.path.isabs(stored)
    assert os.path.samefile(stored, room / "bars")


def test_paths_of_a_configuration_are_relative_to_where_the_command_is_typed(room: Path) -> None:
    (room / "config.yaml").write_text(CONFIG.format(bars="bars"))
    (room / "bars").mkdir()
    program = [sys.executable, "-m", "raybench", "train", "../config.yaml", "--out", "run"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(program, cwd=room / "deep", env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert f"{room / 'deep' / 'bars'}: is not a bars dataset" in done.stderr
    assert yaml.safe_load((room / "config.yaml").read_text())["data"]["bars"] == "bars"
