"""The page on networks of one's own, done: its class lies in the working directory and nowhere else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from raybench.cli.app import run as command
from raybench.config import Config, dump_config
from raybench.config.networks import parse_network
from raybench.scoring.table import read_scores

pytestmark = [pytest.mark.ray, pytest.mark.slow]

PAGE = Path(__file__).parents[3] / "docs" / "your-own-network.md"


def code_of_page() -> tuple[str, str]:
    """The name and text of the module that the page shows."""
    text = PAGE.read_text().partition("```python\n")[2].partition("```")[0]
    return text.splitlines()[0].removeprefix("# "), text


def raybench(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command as its console script does: without the working directory on the path."""
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    line = [sys.executable, "-m", "raybench", *arguments, "--json", "--quiet"]
    return subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def summary_of(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_page_works(
    make_config: Callable[..., Config],
    market_bars: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    name, text = code_of_page()
    (tmp_path / name).write_text(text)
    config = make_config(train__max_epochs=1, cluster__num_workers=1)
    network = parse_network({"type": "my_networks:MeanPool", "hidden_size": 16})
    (tmp_path / "config.yaml").write_text(dump_config(config.model_copy(update={"model": network})))
    trained = summary_of(raybench(tmp_path, "train", "config.yaml", "--out", "run"))
    assert trained["model"] == "my_networks:MeanPool"
    assert trained["parameters"] == 16 * 21 + 17

    score = ["score", "--model", "run", "--bars", market_bars, "--to", "scores", "--start", "2015-12-21", "--local"]
    monkeypatch.chdir(tmp_path)
    assert command(score) == 2
    assert "asks for its own code my_networks:MeanPool; add --trust" in capsys.readouterr().err
    assert not (tmp_path / "scores").exists()
    summary_of(raybench(tmp_path, *score, "--trust"))
    assert set(read_scores(str(tmp_path / "scores"))["run_id"]) == {trained["run_id"]}
