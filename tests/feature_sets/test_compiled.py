"""What is kept of compiled functions is run only as it was written, and while nothing it was made of has changed."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

FUNCTIONS = """
from raybench.feature_sets.compiled import compiled
from theirs import twice

@compiled
def four_times(x):
    return twice(twice(x))
"""
CALLED = """
from raybench.feature_sets.compiled import compiled

@compiled
def twice(x):
    return {factor} * x
"""
CALL = """
from ours import four_times
print(four_times(1.0), sum(four_times.stats.cache_hits.values()))
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A function that calls another one of another file, both compiled and kept."""
    (tmp_path / "ours.py").write_text(FUNCTIONS)
    (tmp_path / "theirs.py").write_text(CALLED.format(factor=2.0))
    assert called(tmp_path) == "4.0 0"
    assert called(tmp_path) == "4.0 1", "it was not kept"
    return tmp_path


def called(folder: Path) -> str:
    """What a process of its own finds, and how often it did not compile."""
    known = os.environ | {"NUMBA_CACHE_DIR": str(folder / "cache")}
    known["PYTHONPATH"] = os.pathsep.join([str(folder), os.getcwd(), known.get("PYTHONPATH", "")])
    ended = subprocess.run([sys.executable, "-c", CALL], env=known, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


@pytest.mark.parametrize("kind", ["nbi", "nbc"])
def test_what_is_damaged_is_compiled_again(package: Path, kind: str) -> None:
    """One bit anywhere, a file that was cut, one that is empty; and what is compiled takes its place."""
    file = next(package.rglob(f"*four_times*.{kind}"))
    whole, chosen = file.read_bytes(), random.Random(0)
    for at in (0, 1, 40, chosen.randrange(len(whole)), len(whole) - 1):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << chosen.randrange(8)]) + whole[at + 1 :])
        assert called(package) == "4.0 0"
    for size in (0, 20, len(whole) - 1):
        file.write_bytes(whole[:size])
        assert called(package) == "4.0 0"
    assert called(package) == "4.0 1"


def test_a_change_in_what_is_called_counts(package: Path) -> None:
    """Numba looks at a function's own file alone."""
    (package / "theirs.py").write_text(CALLED.format(factor=3.0))
    assert called(package) == "9.0 0"
