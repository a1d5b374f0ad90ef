"""Fixtures every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with the real data and what Qlib computed on it; tests that need it skip without it."""
    root = Path(os.environ.get("RAYBENCH_SHARED", Path(__file__).parents[2] / "shared"))
    if not (root / "oracle").is_dir():
        pytest.skip(f"needs the reference data, not found at {root} (set RAYBENCH_SHARED)")
    return root
