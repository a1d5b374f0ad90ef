"""The small market scored once, for all tests of scoring."""

from __future__ import annotations

import pytest

from raybench.cluster.jobs.scoring import score


@pytest.fixture(scope="session")
def whole(run: str, market_bars: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Scores of the whole test segment; read only."""
    to = str(tmp_path_factory.mktemp("whole") / "scores")
    score(run, bars=market_bars, to=to, local=True)
    return to
