"""Fixtures every test may use."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

from raybench.market.bars import Bars, open_bars
from raybench.market.importing.job import import_bars
from raybench.market.sources import open_source

# The same few examples in every run; RAYBENCH_HYPOTHESIS=long looks for new ones for as long as it takes.
settings.register_profile("ci", deadline=None, max_examples=25, derandomize=True, database=None)
settings.register_profile("long", deadline=None, max_examples=2_000)
settings.load_profile(os.environ.get("RAYBENCH_HYPOTHESIS", "ci"))


_RAY_FOLDER = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    """Give the Rays of this process a folder of their own, where no other process' cluster is found and joined."""
    config.stash[_RAY_FOLDER] = os.environ["RAY_TMPDIR"] = tempfile.mkdtemp(prefix="rb-", dir="/tmp")


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(config.stash[_RAY_FOLDER], ignore_errors=True)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with the real data and what Qlib computed on it; tests that need it skip without it."""
    root = Path(os.environ.get("RAYBENCH_SHARED", Path(__file__).parents[2] / "shared"))
    if not (root / "oracle").is_dir():
        pytest.skip(f"needs the reference data, not found at {root} (set RAYBENCH_SHARED)")
    return root


@pytest.fixture(scope="session")
def cn_bars(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Bars:
    """The real bars of CSI 300's members, imported once."""
    to = str(tmp_path_factory.mktemp("cn") / "bars")
    import_bars(open_source(str(shared / "cn_data")), to)
    return open_bars(to)
