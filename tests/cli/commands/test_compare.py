"""``raybench compare`` as somebody types it, from another folder, on a terminal of 80 columns."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from raybench.cluster.jobs.training import train
from tests.small import small_bars, small_config

ROOT = Path(__file__).parents[3]
LONG = "a_gru_that_has_been_given_a_rather_long_name_by_somebody"


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tiny runs and an empty folder to stand in."""
    room = tmp_path_factory.mktemp("room")
    small_bars(room / "bars", instruments=20, seed=4)
    tiny = {"data.step_len": 5, "model.hidden_size": 4, "train.max_epochs": 1}
    train(small_config(room / "bars", tiny), out=str(room / "runs" / "gru"), local=True)
    train(small_config(room / "bars", {**tiny, "model.hidden_size": 6}), out=str(room / "runs" / LONG), local=True)
    (room / "elsewhere").mkdir()
    return room


def compare(room: Path, *words: str, width: int = 80) -> subprocess.CompletedProcess[str]:
    """Type a line in an empty folder."""
    return subprocess.run(
        [sys.executable, "-m", "raybench", "compare", *words],
        cwd=room / "elsewhere",
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": str(width), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_two_runs_from_another_folder(room: Path) -> None:
    done = compare(room, "../runs/gru", f"../runs/{LONG}", "--out", "../out", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert sorted(row["name"] for row in said["configurations"]) == sorted([LONG, "gru"])
    assert said["differing"] == {"model.hidden_size": {"gru": 4, LONG: 6}}
    assert said["common_dates"] > 50
    (test,) = said["paired"]
    assert {test["name"], test["against"]} == {LONG, "gru"}
    assert said["warnings"] == []
    assert sorted(path.name for path in (room / "out").iterdir()) == [
        "report.html",
        "report.json",
        "table.csv",
        "table.md",
    ]


def test_the_summary_fits_a_terminal(room: Path) -> None:
    """The tables as a terminal of 80 columns shows them; a file has room for longer lines."""
    program = (
        "import sys; from rich import console; from raybench.cli import tables\n"
        "tables.WIDTH_OF_FILES = 80\n"
        "from raybench.cli.app import main; main()"
    )
    words = ["compare", "../runs/gru", f"../runs/{LONG}", "--out", "../again", "--progress", "none"]
    done = subprocess.run(
        [sys.executable, "-c", program, *words],
        cwd=room / "elsewhere",
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "compared 2 runs on their test dates: mean and deviation over seeds"
    assert "differing  model.hidden_size" in lines
    tables = lines[lines.index("configurations") + 1 :]
    assert max(map(len, tables)) <= 80
    assert tables[0].split() == ["configuration", "fits", "Rank", "IC", "Rank", "ICIR", "IC", "valid", "seconds"]
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["../runs/gru"], "1 finished run to compare"),
        (["../runs/gru", "../runs/gru"], "is given twice"),
        (["../runs/gru", "../nowhere"], "is not a finished run"),
        (["../runs/gru", f"../runs/{LONG}", "--bars", "../runs"], "runs: is not a bars dataset"),
        (["../runs/gru", f"../runs/{LONG}", "--features", "../nowhere"], "nowhere"),
    ],
)
def test_what_cannot_be_compared_is_one_line(room: Path, words: list[str], said: str) -> None:
    done = compare(room, *words, "--out", "../refused", "--progress", "none")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert said in line
    assert not (room / "refused").exists()
