"""Sessions of Ray that killed commands left: ours that are dead go, everybody else's stay."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from raybench.cluster.leftovers import MARK, SessionMark, clear_dead

OWNS = """
import sys, time
from pathlib import Path
from raybench.cluster.leftovers import SessionMark
mark = SessionMark()
mark.put(Path(sys.argv[1]))
print("owned", flush=True)
time.sleep(60)
"""


def session(folder: Path, number: int) -> Path:
    made = folder / f"session_2026-01-01_00-00-00_00000{number}_{number}"
    (made / "ray_spilled_objects").mkdir(parents=True)
    (made / "ray_spilled_objects" / "object").write_bytes(b"much")
    return made


def test_those_of_dead_commands_go_and_nobody_else_s(tmp_path: Path) -> None:
    strangers, theirs, ours, used = (session(tmp_path, number) for number in range(4))
    (tmp_path / "session_latest").symlink_to(strangers)
    mark = SessionMark()
    mark.put(ours)
    (used / MARK).touch()
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    line = [sys.executable, "-c", OWNS, str(theirs)]
    lives = [sys.executable, "-c", "input()", used.name]
    with (
        subprocess.Popen(line, stdout=subprocess.PIPE, env=environment) as other,
        subprocess.Popen(lives, stdin=subprocess.PIPE) as raylet,
    ):
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == b"owned\n"
            clear_dead(tmp_path)
            assert theirs.exists()
            other.kill()
            other.wait()
            clear_dead(tmp_path)
            assert not theirs.exists()
            assert used.exists()
        finally:
            other.kill()
            raylet.kill()
    assert {path.name for path in tmp_path.iterdir()} == {strangers.name, ours.name, used.name, "session_latest"}
    assert (strangers / "ray_spilled_objects" / "object").exists()
    mark.take_back()
    clear_dead(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {strangers.name, "session_latest"}


def test_a_folder_that_is_not_there_has_nothing_to_clear(tmp_path: Path) -> None:
    clear_dead(tmp_path / "ray")
    SessionMark().put(tmp_path / "ray")
    assert not list(tmp_path.iterdir())
