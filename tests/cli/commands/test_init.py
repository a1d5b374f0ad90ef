"""``raybench init``: import, init, check, train, as somebody types them in a folder of their own."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from raybench.config.json_schema import FILE
from raybench.market.synthetic import make_market

ROOT = Path(__file__).parents[3]


@pytest.fixture
def room(tmp_path: Path) -> Path:
    """A folder with a table of bars and a list of names."""
    market = make_market(instruments=10, years=1.5)
    market.bars.to_parquet(tmp_path / "market.parquet")
    (tmp_path / "few.csv").write_text("instrument,start,end\n" + "".join(f"SYN{i:04d},2014-01-01,\n" for i in range(8)))
    return tmp_path


def type_in(room: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "raybench", *words],
        cwd=room,
        env={**os.environ, "COLUMNS": "80", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=200,
    )


def next_of(done: subprocess.CompletedProcess[str]) -> list[str]:
    """The words of the command that is to come next."""
    assert done.returncode == 0, done.stderr
    last = done.stdout.splitlines()[-1]
    assert last.startswith("next: raybench ")
    return shlex.split(last.removeprefix("next: raybench "))


def test_each_command_leads_to_the_next(room: Path) -> None:
    words = next_of(type_in(room, "import", "market.parquet", "--to", "my bars", "--universe", "few=few.csv"))
    assert words == ["init", "--bars", "my bars"]
    made = type_in(room, *words)
    words = next_of(made)
    assert words == ["check", "gru.yaml"]
    assert "universe few" in made.stdout
    assert made.stderr == ""
    assert (room / FILE).exists()
    checked = type_in(room, *words)
    words = next_of(checked)
    assert words == ["train", "gru.yaml", "--out", "runs/gru"]
    assert "warning" not in checked.stderr
    trained = type_in(room, *words, "train.max_epochs=1")
    assert next_of(trained)[0] == "score"
    assert json.loads((room / "runs" / "gru" / "manifest.json").read_text())["epochs"] == 1


def test_it_is_not_written_over(room: Path) -> None:
    assert type_in(room, "import", "market.parquet", "--to", "bars").returncode == 0
    first = type_in(room, "init", "--bars", "bars", "--to", "c/mine.yaml", "--json")
    assert json.loads(first.stdout)["changed"] is True
    again = type_in(room, "init", "--bars", "bars", "--to", "c/mine.yaml", "--json")
    assert json.loads(again.stdout)["changed"] is False
    (room / "c" / "mine.yaml").write_text("mine")
    refused = type_in(room, "init", "--bars", "bars", "--to", "c/mine.yaml")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "--overwrite" in refused.stderr
    assert (room / "c" / "mine.yaml").read_text() == "mine"
    assert type_in(room, "init", "--bars", "bars", "--to", "c/mine.yaml", "--overwrite").returncode == 0
    assert sorted(each.name for each in (room / "c").iterdir()) == ["mine.yaml", FILE]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ([], "--bars"),
        (["--bars", "none"], "is not a bars dataset"),
        (["--bars", ".", "--model", "gruu"], "did you mean 'gru'"),
        (["--bars", ".", "--set", "alpha"], "--set 'alpha'"),
    ],
)
def test_one_line_and_nothing_written(words: list[str], why: str, tmp_path: Path) -> None:
    done = type_in(tmp_path, "init", *words)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert why in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("to", ["there", "new/"])
def test_a_folder_is_no_file_to_write(to: str, room: Path) -> None:
    (room / "there").mkdir()
    done = type_in(room, "init", "--bars", "market.parquet", "--to", to)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert f"--to is {to}, a folder; want the file to write" in done.stderr
    assert sorted(each.name for each in room.iterdir()) == ["few.csv", "market.parquet", "there"]
