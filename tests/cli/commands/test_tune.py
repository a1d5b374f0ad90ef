"""``raybench tune`` as a person types it: what is refused, in one line, before anything is started or written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.config.test_tune import BASE

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
