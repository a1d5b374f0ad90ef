"""``raybench tune`` as a person types it: what is refused, in one line, before anything is started or written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from raybench.cli.app import run as command
from raybench.config import dump_config
from tests.config.test_tune import BASE
from tests.small import small_bars, small_config

COMMAND = [sys.executable, "-m", "raybench", "tune"]


def typed(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *words], cwd=folder, capture_output=True, text=True, timeout=120)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "gru.yaml").write_text(yaml.safe_dump(BASE))
    return tmp_path


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["gru.yaml"], "--out is missing"),
        (["none.yaml", "--out", "s"], "none.yaml"),
        (["gru.yaml", "tune.space={model.n_chans: {choice: [4]}}", "--out", "s"], "tune.space.model.n_chans"),
        (["gru.yaml", "tune.space={train.lr: {uniform: [-1, 1]}}", "--out", "s"], "tune.space.train.lr"),
        (["gru.yaml", "tune.search={type: grid}", "--out", "s"], "is required with search grid"),
        (
            ["gru.yaml", "tune.search={type: tpe}", "tune.space={train.lr: {grid: [0.1, 0.2]}}", "--out", "s"],
            "search tpe draws values and cannot go through a grid",
        ),
        (["gru.yaml", "--out", "s"], "bars"),  # whose bars are not there
        (["gru.yaml", "--out", "gru.yaml"], "gru.yaml"),
    ],
)
def test_what_is_refused(folder: Path, words: list[str], told: str) -> None:
    done = typed(*words, folder=folder)
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: ")
    assert told in last
    assert "Traceback" not in done.stderr
    assert sorted(each.name for each in folder.iterdir()) == ["gru.yaml"]


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("{cpu: 900}", "tune.resources_per_trial.cpu is 900 but the largest node has"),
        ("{gpu: 9}", "tune.resources_per_trial.gpu is 9, and no node has more than"),
        ("{gpu: 1.5}", "tune.resources_per_trial.gpu is 1.5, and Ray gives a share of one GPU or whole ones"),
    ],
)
def test_more_than_this_machine_has_is_refused_before_ray_is_started(
    market: str,
    tmp_path: Path,
    asked: str,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAY_ADDRESS", "local")
    Path("gru.yaml").write_text(dump_config(small_config(market)))
    assert command(["tune", "gru.yaml", f"tune.resources_per_trial={asked}", "--out", "s"]) == 2
    assert told in capsys.readouterr().err.splitlines()[-1]
    assert not Path("s").exists()


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Bars of a few instruments."""
    return small_bars(tmp_path_factory.mktemp("market") / "bars", instruments=8)
