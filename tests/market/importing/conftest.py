"""Bars that are written as large ones are."""

from __future__ import annotations

import pytest

from raybench.market.importing import joining, parts
from tests.market.importing.worlds import FIELDS


@pytest.fixture
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several files of several row groups, and files that are joined soon."""
    monkeypatch.setattr(parts, "FILE_BYTES", 400 * (8 + 4 * len(FIELDS)))
    monkeypatch.setattr(parts, "ROW_GROUP_ROWS", 64)
    monkeypatch.setattr(parts, "RECENT", 16)
    monkeypatch.setattr(joining, "MAX_SLICES", 2)
