"""Linear and LightGBM fitted on the same tables as Qlib's LinearModel and LGBModel."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from raybench.models import build
from raybench.models.interface.direct import FitsDirectly, LabelledSamples
from tests.parity.conftest import RunQlib

pytestmark = pytest.mark.parity

FEATURES = 30
SIZES = {"train": 3000, "valid": 1000, "test": 500}
TREES: dict[str, Any] = {
    "learning_rate": 0.1,
    "num_leaves": 15,
    "max_depth": 5,
    "lambda_l1": 2.0,
    "lambda_l2": 5.0,
    "num_boost_round": 60,
    "early_stopping_rounds": 10,
}
SEED = 3
LINEAR: dict[str, dict[str, Any]] = {
    "ols": {},
    "ols_intercept": {"fit_intercept": True},
    "ridge": {"estimator": "ridge", "alpha": 20.0},
    "ridge_intercept": {"estimator": "ridge", "alpha": 20.0, "fit_intercept": True},
}
LGB = {**TREES, "colsample_bytree": 0.8879, "subsample": 0.8789, "seed": SEED, "num_threads": 1}
TABLES = ("float64", "float32", "missing")
CASES: dict[str, dict[str, Any]] = {
    **{
        f"{name}_{table}": {"kind": "linear", "settings": settings, "table": table}
        for name, settings in LINEAR.items()
        for table in ("float64", "float32")
    },
    **{f"lightgbm_{table}": {"kind": "lightgbm", "settings": LGB, "table": table} for table in ("float32", "missing")},
}


def table_of(kind: str) -> dict[str, np.ndarray]:
    """Correlated columns, one of them constant; a label that hangs on few of them, on one not linearly."""
    dtype = np.float64 if kind == "float64" else np.float32
    rng = np.random.default_rng(7)
    mix_KK = rng.standard_normal((FEATURES, FEATURES))
    found: dict[str, np.ndarray] = {}
    for name, rows in SIZES.items():
        x_SK = (rng.standard_normal((rows, FEATURES)) @ mix_KK / 4.0).astype(dtype)
        x_SK[:, 3] = 1.0
        label_S = 0.4 * x_SK[:, 0] - 0.2 * x_SK[:, 5] + np.abs(x_SK[:, 9]) + rng.standard_normal(rows)
        if kind == "missing":
            x_SK[rng.random(x_SK.shape) < 0.05] = np.nan
        found |= {f"{name}_x": x_SK, f"{name}_label": label_S.astype(dtype)}
    return found


def fitted(model: dict[str, Any], data: dict[str, np.ndarray]) -> nn.Module:
    columns = [f"F{number}" for number in range(FEATURES)]
    network = build(model, feature_set={"type": "table", "columns": columns}, step_len=1)
    if data["train_x"].dtype == np.float64:
        network = network.double()
    assert isinstance(network, FitsDirectly)
    network.fit_directly(parts(data, "train"), parts(data, "valid"), total=lambda value: value, seed=SEED)
    return network.eval()


def parts(data: dict[str, np.ndarray], segment: str) -> Iterator[LabelledSamples]:
    x_SK, label_S = (torch.from_numpy(data[f"{segment}_{name}"]) for name in ("x", "label"))
    for start in range(0, len(label_S), 700):
        rows = slice(start, start + 700)
        yield LabelledSamples(x_BWF=x_SK[rows].unsqueeze(1), label_B=label_S[rows])


@pytest.fixture(scope="module")
def folder(run_qlib: RunQlib, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What Qlib's models find in each case."""
    made = tmp_path_factory.mktemp("baselines")
    for kind in TABLES:
        np.savez(made / f"{kind}.npz", **table_of(kind))
    (made / "cases.json").write_text(json.dumps(CASES))
    run_qlib("baselines.py", made / "cases.json", made)
    return made


def scores(network: nn.Module, data: dict[str, np.ndarray]) -> Tensor:
    with torch.no_grad():
        found: Tensor = network(torch.from_numpy(data["test_x"]).unsqueeze(1))
    return found


# On tables of float32 scikit-learn solves in float32.
@pytest.mark.parametrize(("table", "tolerance"), [("float64", 1e-10), ("float32", 1e-4)])
@pytest.mark.parametrize("name", LINEAR)
def test_linear(folder: Path, name: str, table: str, tolerance: float) -> None:
    data, expected = table_of(table), np.load(folder / f"{name}_{table}_fitted.npz")
    network = fitted({"type": "linear", **LINEAR[name]}, data)
    weight_K = network.state_dict()["linear.weight"][0]
    np.testing.assert_allclose(weight_K, expected["coef"], atol=tolerance)
    np.testing.assert_allclose(scores(network, data), expected["score"], atol=tolerance)


@pytest.mark.parametrize("table", ["float32", "missing"])
def test_lightgbm(folder: Path, table: str) -> None:
    pytest.importorskip("lightgbm")
    data, expected = table_of(table), np.load(folder / f"lightgbm_{table}_fitted.npz")
    network = fitted({"type": "lightgbm", **TREES}, data)
    text = bytes(network.state_dict()["booster"].numpy()).decode()
    assert text.count("\nTree=") == int(expected["trees"]) > 10
    np.testing.assert_allclose(scores(network, data), expected["score"], atol=1e-6)
