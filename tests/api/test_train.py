"""From frames to a run, and from a run and frames to scores, as a notebook does it."""

from __future__ import annotations

import io
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import raybench
from raybench.errors import ConfigError, UserError
from tests.data.small_market import market

BARS = market().to_frame()
DAYS = np.unique(BARS["datetime"])


def config() -> dict[str, Any]:
    """As a plain YAML loader gives it: lr is text, dates are dates."""
    cuts = [0, len(DAYS) // 2, len(DAYS) // 2 + 1, 3 * len(DAYS) // 4, 3 * len(DAYS) // 4 + 1, len(DAYS) - 1]
    first, last = (iter([pd.Timestamp(DAYS[i]).date() for i in cuts[k::2]]) for k in (0, 1))
    return {
        "data": {
            "universe": "csi300",
            "feature_set": {"type": "alpha158", "columns": ["KMID", "ROC5"]},
            "step_len": 3,
            "segments": {name: [next(first), next(last)] for name in ("train", "valid", "test")},
        },
        "model": {"type": "gru", "hidden_size": 4, "num_layers": 1},
        "train": {"lr": "2e-3", "max_epochs": 1, "batch_size": 100},
        "cluster": {"num_workers": 1},
    }


def pages() -> str:
    """The examples of docs/python.md, one after the other."""
    text = (Path(__file__).parents[2] / "docs" / "python.md").read_text(encoding="utf-8")
    return "\n".join(block.partition("```")[0] for block in text.split("```python\n")[1:])


@pytest.mark.ray
def test_the_notebook_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page: dict[str, Any] = {"bars": BARS, "config": config()}
    exec(pages(), page)
    run, scores, result = page["run"], page["scores"], page["result"]
    assert Path(run.uri).parent == tmp_path / "runs"
    assert repr(run).startswith(f"<run {run.uri}: network gru")
    assert list(scores.columns) == ["instrument", "datetime", "score", "rank", "run_id"]
    assert scores["run_id"].unique().tolist() == [run.run_id]
    assert raybench.evaluate(scores, run.config.data.bars).metrics["IC"] == result.metrics["IC"]
    polars = pytest.importorskip("polars")
    with redirect_stderr(io.StringIO()) as told:
        few = raybench.load_run(run.uri).score(polars.from_pandas(BARS), start=DAYS[-3], progress=True)
    pd.testing.assert_frame_equal(few, scores[scores["datetime"] >= DAYS[-3]].reset_index(drop=True))
    assert "scoring dates" in told.getvalue()
    with pytest.raises(UserError, match="start= is 'soon'"):
        run.score(BARS, start="soon")


def test_numbers_that_only_yaml_1_2_knows() -> None:
    from raybench.config import load_config

    tree = config()
    tree["data"]["bars"] = Path("bars")
    assert load_config(tree, {"train.weight_decay": "1e-5"}).train.weight_decay == 1e-5
    assert load_config(tree, {"train.lr": np.float32(0.5)}).train.lr == 0.5
    for wrong in ({"train.lr": "fast"}, {"train.lr": "0.1"}, {"train.lrr": 1.0}, {"data.bars.x": 1}):
        with pytest.raises(ConfigError):
            load_config(tree, wrong)
