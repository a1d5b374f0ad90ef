"""``raybench info`` as somebody types it, from another folder, on a terminal of 80 columns."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from raybench.market.bars import BarBlock
from raybench.market.importing.job import import_bars
from raybench.market.sources.source import memory_source
from raybench.market.synthetic import UNIVERSE, make_market
from raybench.market.universe import universe_of_frame

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bars with many universes of long names, and a folder to stand in."""
    room = tmp_path_factory.mktemp("info")
    market = make_market(instruments=10, years=2, seed=4)
    names = [f"{UNIVERSE}_{'long_name_' * 3}{i}" for i in range(9)]
    universes = {name: universe_of_frame(name, market.spans) for name in names}
    import_bars(memory_source(BarBlock.from_frame(market.bars)), str(room / "my bars"), universes=universes)
    (room / "elsewhere").mkdir()
    return room


def info(room: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "raybench", "info", *words],
        cwd=room / "elsewhere",
        env={**os.environ, "COLUMNS": "80", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_people_read_it_on_80_columns(room: Path) -> None:
    done = info(room, "../my bars")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "../my bars: a bars dataset"
    assert max(map(len, lines)) <= 80
    assert any(line.split()[:1] == ["2014"] for line in lines)
    assert "fingerprint" in done.stdout


def test_programs_read_it_on_the_last_line(room: Path) -> None:
    done = info(room, "../my bars", "--json")
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["kind"] == "a bars dataset"
    assert said["years"][0]["year"] == 2014
    assert len(said["universes"]) == 10


@pytest.mark.parametrize(("path", "why"), [("none", "is not there"), (".", "is an empty folder"), ("s3:x", "s3://x")])
def test_one_line_for_what_is_not_there(path: str, why: str, room: Path) -> None:
    done = info(room, path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert why in done.stderr
