"""Tables fit the terminal: what is short stays whole, and files have no blanks at the end of a line."""

from __future__ import annotations

import datetime as dt
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

import raybench
from raybench.cli.tables import _print_rows, print_summary, shown
from raybench.config.networks import NETWORKS

ROWS = [
    {"run": f"a_longer_folder/seed-{n}", "network": "transformer", "features": "alpha158, 158", "seed": str(n)}
    | {"epochs": 120, "valid": "0.0123", "test": "0.0120 ± 0.0045", "when": "2026-11-26"}
    for n in range(2)
]


def on_a_terminal(width: int) -> list[str]:
    stream = io.StringIO()
    _print_rows(Console(file=stream, width=width, force_terminal=True, color_system=None), ROWS, "")
    return stream.getvalue().splitlines()


def test_eighty_columns_keep_figures_whole_and_lose_nothing() -> None:
    lines = on_a_terminal(80)
    assert max(map(len, lines)) <= 80
    assert "transformer alpha158, 158 0       120 0.0123" in lines[1]
    assert sum("2026-11-26" in line for line in lines) == 2
    first = "".join(line[:11].strip() for line in lines[1 : 1 + (len(lines) - 1) // 2])
    assert first == "a_longer_folder/seed-0"


@pytest.mark.parametrize("width", [120, 200])
def test_what_has_room_is_one_line_each(width: int) -> None:
    lines = [line for line in on_a_terminal(width) if line.strip()]
    assert len(lines) == 3
    assert "alpha158, 158  1" in lines[2]


def test_a_file_has_a_line_for_each_row_without_blanks_at_its_end() -> None:
    stream = io.StringIO()
    print_summary({"runs": ROWS}, "two runs", stream)
    lines = stream.getvalue().splitlines()
    assert [line for line in lines if line != line.rstrip()] == []
    assert sum("seed-" in line for line in lines) == 2


def test_a_long_list_names_all_of_it_on_lines_that_fit() -> None:
    names = [f"FEATURE{n}" for n in range(158)]
    stream = io.StringIO()
    print_summary({"panel_other_row_bytes": 0, "features": names}, "", stream)
    lines = stream.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    said = " ".join(line.removeprefix("features").strip() for line in lines[1:])
    assert said.split(", ") == names


def test_a_midnight_is_a_date() -> None:
    assert shown(dt.datetime(2020, 6, 30)) == "2020-06-30"
    assert shown(dt.datetime(2020, 6, 30, 10, 30)) == "2020-06-30 10:30:00"
    assert shown(dt.date(2020, 6, 30)) == "2020-06-30"


@pytest.mark.parametrize("words", [["models"], ["models", "-v"], ["models", "gru"]])
def test_networks_fit_eighty_columns_without_a_broken_word(words: list[str], tmp_path: Path) -> None:
    line = [sys.executable, "-m", "raybench", *words]
    environment = {**os.environ, "COLUMNS": "80", "PYTHONPATH": str(Path(raybench.__file__).parents[1])}
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    every = {key for kind in NETWORKS.values() for key in kind.model_fields}
    if "-v" in words:
        assert {"hidden_size", "recurrent_dropconnect", "early_stopping_rounds"} <= every & set(done.stdout.split())
