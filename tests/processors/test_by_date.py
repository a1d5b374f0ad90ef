"""Ranks of many rows, a stretch of dates at a time, are those of all at once."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from raybench.processors import by_date
from raybench.processors.by_date import ByDate


@pytest.mark.parametrize("dates", [1, 3, 50])
def test_ranks_do_not_depend_on_stretches(dates: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    date_R = rng.integers(0, dates, 2_000).astype(np.int32)
    x_R = rng.integers(0, 9, 2_000).astype(np.float32)
    x_R[rng.random(2_000) < 0.1] = np.nan
    x_R[date_R == dates - 1] = np.nan
    groups = ByDate(date_R=date_R, num_dates=dates + 2)
    want = pd.Series(x_R).groupby(date_R).rank(pct=True).to_numpy()
    at_once = groups.rank_pct(x_R)
    monkeypatch.setattr(by_date, "MANY_ROWS", 100)
    np.testing.assert_array_equal(groups.rank_pct(x_R), at_once)
    np.testing.assert_allclose(at_once, want, rtol=1e-12)
