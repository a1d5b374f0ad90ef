"""IC, Rank IC and long-short per date against Qlib's own, with ties, gaps and dates that say nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import raybench
from tests.parity.conftest import RunQlib

pytestmark = pytest.mark.parity


def scores_and_labels() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    dates, names = pd.bdate_range("2020-01-01", periods=40), [f"I{number:03d}" for number in range(50)]
    table = pd.DataFrame(index=pd.MultiIndex.from_product([dates, names], names=["datetime", "instrument"]))
    table["label"] = rng.normal(0.0, 0.02, len(table)).astype(np.float32)
    noise = rng.normal(0.0, 0.04, len(table))
    table["score"] = (table["label"] + noise).round(2).astype(np.float32)  # rounded: many ties
    table.loc[rng.random(len(table)) < 0.05, "label"] = np.nan
    return table[rng.random(len(table)) > 0.2].reset_index()


def test_daily_signal(run_qlib: RunQlib, tmp_path: Path) -> None:
    table = scores_and_labels()
    table.to_parquet(tmp_path / "scores.parquet", index=False)
    run_qlib("daily_ic.py", tmp_path / "scores.parquet", tmp_path / "daily.parquet")
    expected = pd.read_parquet(tmp_path / "daily.parquet").set_index("datetime")

    evaluation = raybench.evaluate(
        table[["instrument", "datetime", "score"]], table[["instrument", "datetime", "label"]], label="label"
    )
    found = evaluation.daily.set_index("datetime")
    assert len(found) == 40
    for name in ("ic", "rank_ic", "long_short", "long_avg"):
        np.testing.assert_allclose(found[name], expected[name], atol=1e-6, err_msg=name)
    assert evaluation.metrics["IC"] == pytest.approx(expected["ic"].mean(), abs=1e-6)
    assert evaluation.metrics["ICIR"] == pytest.approx(expected["ic"].mean() / expected["ic"].std(), abs=1e-6)
