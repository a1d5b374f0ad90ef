"""The small market scored once, and trained on once, for all tests that break what does it; what publishes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from raybench.cluster.jobs import training
from raybench.cluster.jobs.scoring import score
from raybench.config import Config
from raybench.runs.artifact import StoredRun
from tests.cluster.jobs.desk import days, desk, rows, spans
from tests.cluster.jobs.power_cut_jobs import describing, folder, importing, jobs, judging, learning, other_run

__all__ = [
    "days",
    "describing",
    "desk",
    "folder",
    "importing",
    "jobs",
    "judging",
    "learning",
    "other_run",
    "rows",
    "spans",
]  # fixtures


@pytest.fixture(scope="session")
def whole(run: str, market_bars: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Scores of the whole test segment; read only."""
    to = str(tmp_path_factory.mktemp("whole") / "scores")
    score(run, bars=market_bars, to=to, local=True)
    return to


@pytest.fixture(scope="session")
def fragile(make_config: Callable[..., Config]) -> Config:
    """A configuration long enough to be interrupted, with dropout: every random draw has to come again."""
    return make_config(train__max_epochs=4, train__batch_size=30, model__dropout=0.2, model__num_layers=2)


@pytest.fixture(scope="session")
def unbroken(local_ray: None, fragile: Config, tmp_path_factory: pytest.TempPathFactory) -> StoredRun:
    """What ``fragile`` comes to without interruption."""
    return training.train(fragile, out=str(tmp_path_factory.mktemp("unbroken") / "run"))
