"""Whether Ray is started where nobody has said it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from raybench.cluster import choice


@pytest.mark.parametrize(
    ("local", "little", "asked", "runs", "here"),
    [
        (None, True, False, False, True),
        (None, False, False, False, False),
        (None, True, True, False, False),
        (None, True, False, True, False),
        (True, False, True, True, True),
        (False, True, False, False, False),
    ],
)
def test_where_it_is_done(
    monkeypatch: pytest.MonkeyPatch, local: bool | None, little: bool, asked: bool, runs: bool, here: bool
) -> None:
    monkeypatch.setattr(choice, "asked_for", lambda: asked)
    monkeypatch.setattr(choice, "runs_here", lambda: runs)
    assert choice.here(local, little=little) is here


@pytest.mark.parametrize(("address", "asked"), [(None, False), ("", False), (" ", False), ("local", True)])
def test_a_blank_address_asks_for_nothing(monkeypatch: pytest.MonkeyPatch, address: str | None, asked: bool) -> None:
    monkeypatch.setattr(choice.sys, "modules", {name: m for name, m in sys.modules.items() if name != "ray"})
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if address is not None:
        monkeypatch.setenv("RAY_ADDRESS", address)
    assert choice.asked_for() is asked


def test_jobs_load_ray_only_where_they_start_it() -> None:
    jobs = ", ".join(f"raybench.cluster.jobs.{job}" for job in ("adoption", "explaining", "features", "training"))
    code = f"import sys, {jobs}; sys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
