"""The training of a few seconds learns, and its folder is gone."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from raybench.cluster.health import fit


def test_it_learns_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(fit, "SECONDS", 1.0)
    found = fit.fit_works()
    assert found.ok, found.said
    assert found.figures["samples_per_second"] > 0
    assert [each for each in tmp_path.iterdir() if each.name.startswith("raybench")] == []  # torch leaves its own
