"""Temporary folders: a dead process's own go with the next of their kind, a living one's and a stranger's stay."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from raybench.errors import DataError
from raybench.storage import rooms

OWNS = """
import time
from raybench.storage import rooms
folder, lock = rooms.own("raybench-test-")
print(folder, flush=True)
time.sleep(60)
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_folder_is_there_while_it_is_needed(temporary: Path) -> None:
    with rooms.room("raybench-test-") as folder:
        assert os.path.dirname(folder) == str(temporary)
        Path(folder, "file").write_bytes(b"x")
        with rooms.room("raybench-test-") as other:
            assert {folder, other} == {str(path) for path in temporary.iterdir()}
    assert not list(temporary.iterdir())


def test_what_a_killed_process_left_goes_with_the_next_and_nothing_else(temporary: Path) -> None:
    for name in ("raybench-test-file", "raybench-other-x"):
        (temporary / name).mkdir()
    (temporary / "raybench-test-file").rmdir()
    (temporary / "raybench-test-file").write_bytes(b"somebody's")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "TMPDIR": str(temporary)}
    with subprocess.Popen([sys.executable, "-c", OWNS], stdout=subprocess.PIPE, env=environment, text=True) as other:
        try:
            assert other.stdout is not None
            theirs = Path(other.stdout.readline().strip())
            (theirs / "rows").write_bytes(b"x")
            rooms.clear_dead("raybench-test-")
            assert (theirs / "rows").exists()
        finally:
            other.kill()
    with rooms.room("raybench-test-"):
        assert not theirs.exists()
    assert {path.name for path in temporary.iterdir()} == {"raybench-test-file", "raybench-other-x"}


def test_no_room_is_one_line_that_names_the_folder(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(temporary / "gone"))
    with pytest.raises(DataError, match=r"gone: cannot be written: No such file.*; make room, or set TMPDIR"):
        rooms.own("raybench-test-")
