"""``raybench schema``, as a person types it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from raybench.config.json_schema import config_schema, daily_schema


def test_it_prints_the_schema_from_anywhere(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "raybench", "schema"]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == config_schema()
    assert done.stdout.count("\n") > 100
    short = subprocess.run([*line, "--json"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert short.stdout.count("\n") == 1
    assert json.loads(short.stdout) == config_schema()


def test_it_prints_that_of_a_morning(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "raybench", "schema"]
    done = subprocess.run([*line, "daily"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert json.loads(done.stdout) == daily_schema()
    other = subprocess.run([*line, "dialy"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (other.returncode, other.stderr.count("\n")) == (2, 1)
    assert "did you mean 'daily'" in other.stderr


def test_it_loads_neither_torch_nor_ray() -> None:
    code = (
        "import sys; from raybench.cli.app import run; assert run(['schema']) == 0; "
        "sys.exit(bool({'torch', 'ray', 'pandas', 'pyarrow'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60).returncode == 0
