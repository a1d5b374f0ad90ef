"""Every shipped configuration trains for two epochs, as a user would have it do, on the small market.

In one process, but for two networks on Ray: what a worker does is what a process does, see test_local_training.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from raybench.cli import app
from raybench.config.size import parameters
from raybench.market.synthetic import UNIVERSE
from raybench.runs.artifact import load_run

pytestmark = pytest.mark.slow

CONFIGS = sorted((Path(__file__).parents[3] / "configs").glob("*.yaml"))
SHORT = [
    f"data.universe={UNIVERSE}",
    "data.segments.valid=[2015-04-01, 2015-05-29]",
    "data.segments.test=[2015-06-01, 2015-12-31]",
    "train.max_epochs=2",
    "train.batch_size=500",
    "cluster.cpus_per_worker=1",
]
ON_TWO_WORKERS = {"alstm_alpha158": [], "gats_alpha158": []}  # gats: one date for each worker, as shipped
"""One network that is given random windows, and one that is given whole dates."""
PRETRAINED = {"tabnet": 1, "tra": 2}
"""Epochs of a first phase: TRA's has as many as the training."""


@pytest.fixture(scope="session")
def concepts(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Every instrument has one of five concepts, and every third another one for some months."""
    rows = [(f"SYN{i:04d}", f"sector {i % 5}", "2014-01-01", "2016-12-31") for i in range(30)]
    rows += [(f"SYN{i:04d}", "theme", "2014-12-01", "2015-04-30") for i in range(0, 30, 3)]
    path = tmp_path_factory.mktemp("concepts") / "concepts.csv"
    pd.DataFrame(rows, columns=["instrument", "concept", "start", "end"]).to_csv(path, index=False)
    return str(path)


@pytest.mark.parametrize(
    "config",
    [pytest.param(c, marks=pytest.mark.ray if c.stem in ON_TWO_WORKERS else ()) for c in CONFIGS],
    ids=lambda path: path.stem,
)
def test_two_epochs(
    config: Path,
    market_bars: str,
    concepts: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> None:
    on_ray = config.stem in ON_TWO_WORKERS
    if on_ray:
        request.getfixturevalue("local_ray")
    begin = "2015-01-01" if config.stem.endswith("alpha360") else "2014-09-01"  # windows of 60 rows take their time
    overrides = [
        f"data.segments.train=[{begin}, 2015-03-31]",
        *SHORT,
        *ON_TWO_WORKERS.get(config.stem, []),
        f"data.bars={market_bars}",
        f"cluster.num_workers={2 if on_ray else 1}",
    ]
    if config.stem.startswith("hist"):
        overrides.append(f"data.concepts={concepts}")
    if config.stem.startswith("lightgbm"):  # Qlib's penalties are for half a million samples
        overrides += ["model.lambda_l1=0.0", "model.lambda_l2=1.0"]
    pretrained = PRETRAINED.get(config.stem.partition("_")[0], 0)
    if config.stem.startswith("tabnet"):
        overrides.append("model.pretrain_n_epochs=1")
    where = [] if on_ray else ["--local"]
    code = app.run(["train", str(config), *overrides, *where, "--out", str(tmp_path / "run"), "--json", "--quiet"])
    printed = capsys.readouterr()
    assert code == 0, printed.err
    summary = json.loads(printed.out.splitlines()[-1])
    run = load_run(str(tmp_path / "run"))
    known = parameters(run.config)
    assert known is None or run.manifest["parameters"] == known
    history = run.history
    assert 1 <= len(history) - pretrained <= 2
    assert np.isfinite(history["train_loss"]).all()
    assert math.isfinite(summary["valid_rank_ic"]) or history["valid_rank_ic"].isna().all()


def test_two_workers_are_used_for_either_kind_of_batch() -> None:
    stems = {path.stem for path in CONFIGS}
    assert set(ON_TWO_WORKERS) <= stems
