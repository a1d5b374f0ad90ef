"""What is odd about a frame is said by every verb that takes one, and moves nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import raybench
from tests.market.small_market import market

BARS = market(7, 200).to_frame()
STRAY = pd.concat([BARS, BARS.dropna().iloc[[90]].assign(datetime=pd.Timestamp("2020-09-05"))])
CONFIG: dict[str, Any] = {
    "data": {
        "bars": "given",
        "universe": "all",
        "feature_set": {"type": "alpha158", "columns": ["KMID", "ROC5"]},
        "step_len": 5,
        "segments": {
            "train": ["2020-02-01", "2020-06-30"],
            "valid": ["2020-07-01", "2020-08-15"],
            "test": ["2020-08-16", "2020-10-01"],
        },
    },
    "model": {"type": "gru", "hidden_size": 4, "num_layers": 1},
    "train": {"max_epochs": 1},
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_stray_date_is_said_and_moves_no_score(tmp_path: Path) -> None:
    plain = raybench.train(CONFIG, bars=BARS, out=tmp_path / "plain", local=True)
    odd = raybench.train(CONFIG, bars=STRAY, out=tmp_path / "odd", local=True)
    assert any("2020-09-05" in line for line in odd.warnings)
    assert not any("2020-09-05" in line for line in plain.warnings)
    assert odd.metrics == plain.metrics
    asked = {"start": "2020-08-20", "end": "2020-09-20", "min_coverage": 0}
    with pytest.warns(UserWarning, match="2020-09-05"):
        got = plain.score(STRAY, **asked)
    pd.testing.assert_frame_equal(got, plain.score(BARS, **asked))
