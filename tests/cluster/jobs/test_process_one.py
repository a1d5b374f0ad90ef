"""Commands that work without Ray as process 1 of a container: a signal ends them and nothing is half there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from raybench.market.synthetic import make_market
from raybench.scoring.table import dates, read_scores

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
ALONE = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child"]
HOOK = """
import os, signal, sys
from raybench.cli import app
from raybench.storage import files
left, number = [int(sys.argv[1])], getattr(signal, sys.argv[2])
def checkpoint(step, uri):
    left[0] -= step == "rename"
    if left[0] == 0 and step == "rename":
        assert os.getpid() == 1
        os.kill(1, number)
files._checkpoint = checkpoint
sys.argv = ["raybench", *sys.argv[3:]]
app.main()
"""


def typed(published: int, name: str, *words: str) -> subprocess.CompletedProcess[str]:
    """A command as process 1, which gets a signal before it publishes its so and so manieth file."""
    if shutil.which("unshare") is None or subprocess.run([*ALONE, "true"], capture_output=True).returncode:
        pytest.skip("needs unshare, to be process 1 of something")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)} | {"OMP_NUM_THREADS": "1"}
    environment.pop("RAY_ADDRESS", None)
    line = [*ALONE, sys.executable, "-c", HOOK, str(published), name, *words]
    return subprocess.run(line, env=environment, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGHUP", 129)])
def test_an_import(tmp_path: Path, name: str, code: int) -> None:
    make_market(instruments=6, years=1).bars.to_parquet(tmp_path / "market.parquet")
    done = typed(2, name, "import", str(tmp_path / "market.parquet"), "--to", str(tmp_path / "bars"))
    assert done.returncode == code, done.stderr
    assert done.stderr.splitlines()[-1].startswith(f"ended by {name}: ")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "bars" / "metadata.json").exists()


def test_scoring(run: str, market_bars: str, whole: str, tmp_path: Path) -> None:
    to = tmp_path / "scores"
    words = [
        "score",
        "--model",
        run,
        "--bars",
        market_bars,
        "--to",
        str(to),
        "--start",
        str(dates(whole)[-9]),
        "--local",
    ]
    done = typed(4, "SIGTERM", *words)
    assert done.returncode == 143, done.stderr
    assert done.stderr.splitlines()[-1].startswith("ended by SIGTERM: ")
    assert "Traceback" not in done.stderr
    found = read_scores(str(to))
    days = found["datetime"].unique()
    assert 0 < len(days) < 9
    want = read_scores(whole)
    assert found.equals(want[want["datetime"].isin(days)].reset_index(drop=True))
