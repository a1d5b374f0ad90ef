"""A network without gradient steps through the same commands: train, train again, score, check."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from raybench.cluster.jobs import scoring, training
from raybench.config import Config
from raybench.config.panel_spec import PanelSpec
from raybench.feeds.feeds import resident_feeds
from raybench.feeds.world import SOLO
from raybench.panel.build import build_panel
from raybench.training.direct import feeding, fit_at_once
from raybench.training.network import build_model
from raybench.training.sources import open_data
from raybench.training.state import TrainState
from tests.cluster.conftest import MakeConfig

pytestmark = [pytest.mark.ray, pytest.mark.slow]


def alone(config: Config) -> TrainState:
    """Fit in this process, without Ray."""
    panel = build_panel(PanelSpec.of(config), *open_data(PanelSpec.of(config)))
    model = build_model(config, panel.columns)
    return fit_at_once(model, resident_feeds(feeding(config), panel, SOLO, torch.device("cpu")), config.train)


def test_linear_goes_the_whole_way(local_ray: None, make_config: MakeConfig, tmp_path: Path) -> None:
    """Two workers; recipe qlib drops incomplete batches of networks that have steps, but no sample here."""
    changes = {"recipe": "qlib", "train.precision": "fp64", "train.batch_size": 7000, "data.step_len": 1}
    config = make_config(model="{type: linear}", **{key.replace(".", "__"): value for key, value in changes.items()})
    run = training.train(config, out=str(tmp_path / "run"))
    expected = alone(config)
    found, wanted = run.weights["linear.weight"], expected.best_weights["linear.weight"]
    torch.testing.assert_close(found, wanted, atol=1e-10, rtol=0.0)
    assert run.manifest["parameters"] == 20
    assert run.manifest["samples"]["train"] % 7000
    assert list(run.history["epoch"]) == [1]
    assert math.isnan(run.history["grad_norm"][0])
    assert run.metrics["valid_loss"] == pytest.approx(expected.best_record().valid_loss, rel=1e-9)
    assert training.train(config, out=str(tmp_path / "run"), resume=True).run_id == run.run_id

    scores = tmp_path / "scores"
    scoring.score(str(tmp_path / "run"), bars=config.data.bars, to=str(scores), end="2015-08-14")
    first = pd.read_parquet(sorted(scores.glob("date=*/scores.parquet"))[0])
    assert len(first) > 20  # members of the universe on that day
    assert np.isfinite(first["score"]).all()
