"""Looks at the machine: what is well here, and what is told where it is not."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from raybench.cluster.health import machine


class Disk(NamedTuple):
    total: int
    used: int
    free: int


def disk(total: float, free: float) -> Callable[[Any], Disk]:
    return lambda _: Disk(int(total), int(total - free), int(free))


def test_what_is_installed_is_what_is_wanted() -> None:
    found = machine.versions()
    assert found.ok, found.said
    assert found.figures["torch"] == importlib.metadata.version("torch")


def test_a_version_that_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = ["torch>=99.0", "nonsense-package>=1", "numpy>=1.0", "lightgbm>=99; extra == 'lightgbm'"]
    monkeypatch.setattr(machine, "requires", lambda _: wanted)
    found = machine.versions()
    assert not found.ok
    assert f"torch is {importlib.metadata.version('torch')}, wanted >=99.0" in found.said
    assert "nonsense-package is not installed, wanted >=1" in found.said
    assert "numpy is" not in found.said
    assert "lightgbm" not in found.said


def test_memory_is_that_of_the_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = tmp_path / "memory.max"
    limit.write_text("1000000000\n")
    monkeypatch.setattr(machine, "_LIMITS", (str(tmp_path / "none"), str(limit)))
    found = machine.memory()
    assert (found.ok, found.figures["memory_gb"]) == (False, 1.0)
    limit.write_text("max\n")
    assert machine.memory().figures["memory_gb"] > 1.0


def test_little_shared_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", disk(64e6, 64e6))  # what a container gets unless told
    found = machine.shared_memory()
    assert not found.ok
    assert "--shm-size=" in found.advice


def test_a_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", disk(100e9, 4e9))
    found = machine.temporary()
    assert (found.ok, found.advice) == (False, "make room: Ray stops when a disk is 95% full")


def test_a_look_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short = Path("/tmp") / f"rd{os.getpid()}"
    monkeypatch.setenv("RAY_TMPDIR", str(short))
    try:
        found = machine.temporary()
        assert found.figures["folder"] == str(short / "ray")
        assert not (short / "ray").exists()
    finally:
        shutil.rmtree(short, ignore_errors=True)
