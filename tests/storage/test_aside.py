"""What killed writers left where files are written aside goes with the next writer, what a living one has stays."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from raybench.storage import aside, files
from tests.killed import killed_at

WRITES = """
import sys, time
from raybench.storage import files
def write(stream):
    stream.write(b"half")
    stream.flush()
    print("writing", flush=True)
    time.sleep(60)
files.publish_file(sys.argv[1], write)
"""


@pytest.fixture(autouse=True)
def _new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aside, "_cleared", set())


def test_what_a_dead_writer_left_goes_with_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with killed_at(1):
        files.publish_bytes(tmp_path / "scores" / "b", b"x")
    assert len(list((tmp_path / "scores.staging").iterdir())) == 1
    monkeypatch.setattr(aside, "_cleared", set())
    files.publish_bytes(tmp_path / "scores" / "a", b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["scores"]


def test_what_a_living_writer_has_stays_until_it_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = [sys.executable, "-c", WRITES, str(tmp_path / "scores" / "b")]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(line, stdout=subprocess.PIPE, env=environment) as other:
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == b"writing\n"
            files.publish_bytes(tmp_path / "scores" / "a", b"x")
            assert len(list((tmp_path / "scores.staging").iterdir())) == 1
        finally:
            other.kill()
    monkeypatch.setattr(aside, "_cleared", set())
    files.publish_bytes(tmp_path / "scores" / "a", b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["scores"]


@pytest.mark.parametrize(
    ("name", "hours", "stays"),
    [
        (f"scores.parquet.{'0' * 8}-{'a' * 32}", 23, True),  # of another machine, whose locks may not be seen here
        (f"scores.parquet.{'0' * 8}-{'a' * 32}", 25, False),
        (f"scores.parquet.{'a' * 32}", 25, False),  # of an older version
        ("notes.txt", 1000, True),
    ],
)
def test_whose_it_is_decides_how_old_it_must_be(tmp_path: Path, name: str, hours: int, stays: bool) -> None:
    left = tmp_path / "scores.staging" / name
    left.parent.mkdir()
    left.write_bytes(b"half")
    os.utime(left, times=(time.time() - hours * 3600,) * 2)
    files.publish_bytes(tmp_path / "scores" / "a", b"x")
    assert left.exists() is stays


def test_a_file_that_was_taken_for_a_dead_ones_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, taken = aside.own, []

    def late(stream: object) -> bool:
        if not taken:
            taken.append(os.unlink(stream.name))  # type: ignore[attr-defined]
        return own(stream)  # type: ignore[arg-type]

    monkeypatch.setattr(aside, "own", late)
    files.publish_bytes(tmp_path / "scores" / "a", b"x")
    assert taken
    assert (tmp_path / "scores" / "a").read_bytes() == b"x"
