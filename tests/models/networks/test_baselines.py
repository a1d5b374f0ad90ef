"""Baselines: what they fit, what they read, and what they refuse."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from raybench.config import Config, load_config
from raybench.config.networks import NETWORKS
from raybench.config.panel_spec import PanelSpec
from raybench.errors import ConfigError, RunError, TrainingError
from raybench.feature_sets.build import compute_features
from raybench.models import MODELS, build
from raybench.models.interface.direct import FitsDirectly, LabelledSamples
from raybench.panel.build import build_panel
from tests.panel.panel_market import SEGMENTS, market_frame, write_bars

TABLE = {"type": "table", "columns": ["A", "B", "C"]}
WINDOW, FEATURES, SAMPLES = 2, 3, 400
TRUTH_K = torch.tensor([0.5, -1.0, 2.0, 0.0, 0.25, -0.75], dtype=torch.float64)


def drawn(samples: int = SAMPLES, *, noise: float = 0.0, constant: float = 0.0, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Windows far from zero mean, and a label that is linear in their flat rows, but for noise."""
    draw = torch.Generator().manual_seed(seed)
    x_SWF = 3.0 + torch.randn(samples, WINDOW, FEATURES, generator=draw, dtype=torch.float64)
    label_S = x_SWF.transpose(1, 2).flatten(1) @ TRUTH_K + constant
    return x_SWF, label_S + noise * torch.randn(samples, generator=draw, dtype=torch.float64)


def parts(x_SWF: Tensor, label_S: Tensor, weight_S: Tensor | None = None, size: int = 33) -> Iterator[LabelledSamples]:
    for start in range(0, len(label_S), size):
        rows = slice(start, start + size)
        weight_B = None if weight_S is None else weight_S[rows]
        yield LabelledSamples(x_BWF=x_SWF[rows], label_B=label_S[rows], weight_B=weight_B)


def fitted(model: dict[str, Any], x_SWF: Tensor, label_S: Tensor, weight_S: Tensor | None = None) -> nn.Module:
    network = build(model, feature_set=TABLE, step_len=WINDOW).to(x_SWF.dtype)
    assert isinstance(network, FitsDirectly)
    valid = parts(*(part.to(x_SWF.dtype) for part in drawn(seed=9, noise=0.1)))
    network.fit_directly(parts(x_SWF, label_S, weight_S), valid, total=lambda value: value, seed=0)
    return network.eval()


def weights(network: nn.Module) -> Tensor:
    return network.state_dict()["linear.weight"][0]


def test_schema_and_network_agree_on_how_they_are_fitted() -> None:
    direct = {name for name, network in MODELS.items() if hasattr(network, "fit_directly")}
    assert direct == {name for name, keys in NETWORKS.items() if keys.fitting == "direct"}
    assert direct == {"linear", "lightgbm", "persistence"}


@pytest.mark.parametrize("constant", [0.0, 7.0])
def test_linear_finds_planted_weights(constant: float) -> None:
    network = fitted({"type": "linear", "fit_intercept": constant != 0.0}, *drawn(constant=constant))
    torch.testing.assert_close(weights(network), TRUTH_K, atol=1e-10, rtol=0)
    if constant:
        assert float(network.state_dict()["linear.bias"]) == pytest.approx(constant, abs=1e-10)


@pytest.mark.parametrize("intercept", [False, True])
def test_ridge_is_the_closed_formula(intercept: bool) -> None:
    x_SWF, label_S = drawn(noise=1.0, constant=2.0)
    network = fitted(
        {"type": "linear", "estimator": "ridge", "alpha": 50.0, "fit_intercept": intercept}, x_SWF, label_S
    )
    x_SK, y_S = x_SWF.transpose(1, 2).flatten(1).numpy(), label_S.numpy()
    mean_K, mean = (x_SK.mean(0), y_S.mean()) if intercept else (np.zeros(x_SK.shape[1]), 0.0)
    gram_KK = (x_SK - mean_K).T @ (x_SK - mean_K) + 50.0 * np.eye(x_SK.shape[1])
    expected_K = np.linalg.solve(gram_KK, (x_SK - mean_K).T @ (y_S - mean))
    np.testing.assert_allclose(weights(network), expected_K, atol=1e-10)
    np.testing.assert_allclose(network(x_SWF).detach(), (x_SK - mean_K) @ expected_K + mean, atol=1e-9)


def test_columns_that_are_constant_or_the_same_get_the_least_norm() -> None:
    x_SWF, label_S = drawn(noise=1.0)
    x_SWF[:, 0, 0], x_SWF[:, 1, 2] = 1.0, x_SWF[:, 0, 1]
    x_SK = x_SWF.transpose(1, 2).flatten(1).numpy()
    expected_K = np.linalg.lstsq(x_SK, label_S.numpy(), rcond=None)[0]
    np.testing.assert_allclose(weights(fitted({"type": "linear"}, x_SWF, label_S)), expected_K, atol=1e-9)
    constant = fitted({"type": "linear", "fit_intercept": True}, x_SWF, label_S)
    assert abs(float(weights(constant)[0])) < 1e-12


def test_weights_count_samples_and_weight_zero_is_not_there() -> None:
    x_SWF, label_S = drawn(noise=1.0)
    weight_S = torch.tensor([0.0, 1.0, 2.0, 3.0], dtype=torch.float64).repeat(SAMPLES // 4)
    many = weight_S.long()
    expected = fitted({"type": "linear"}, x_SWF.repeat_interleave(many, 0), label_S.repeat_interleave(many))
    found = fitted({"type": "linear"}, x_SWF, label_S.where(weight_S > 0, 1e6), weight_S)
    torch.testing.assert_close(weights(found), weights(expected), atol=1e-10, rtol=0)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda x, y, w: (x.index_fill(0, torch.tensor([3]), float("nan")), y, w), "data.processors.infer"),
        (lambda x, y, w: (x, y, torch.zeros_like(w)), "no sample of the train segment has a label"),
        (lambda x, y, w: (x[:0], y[:0], w[:0]), "data.segments.train"),
    ],
)
def test_linear_says_why_it_cannot_be_fitted(change: Any, says: str) -> None:
    with pytest.raises(TrainingError, match=says):
        fitted({"type": "linear"}, *change(*drawn(), torch.ones(SAMPLES, dtype=torch.float64)))


def test_flat_rows_and_windows_score_alike() -> None:
    x_NWF = torch.randn(5, 60, 6)
    for kind in ("linear", "persistence"):
        network = build({"type": kind}, feature_set={"type": "alpha360"}, step_len=60)
        torch.testing.assert_close(network(x_NWF.transpose(1, 2).flatten(1)), network(x_NWF))


def settings(kind: str, bars: str, model: dict[str, Any], **data: Any) -> dict[str, Any]:
    fill = [{"class": "Fillna", "kwargs": {"fields_group": "feature"}}]
    return {
        "data": {
            "bars": bars,
            "universe": "few",
            "feature_set": {"type": kind},
            "segments": SEGMENTS,
            "processors": {"infer": fill, "learn": ["DropnaLabel"]},
            **({"step_len": 1} if kind == "alpha158" else {}),
            **data,
        },
        "model": {"type": "persistence", **model},
    }


@pytest.mark.parametrize(("kind", "days", "sign"), [("alpha158", 5, 1), ("alpha360", 1, 1), ("alpha360", 3, -1)])
def test_persistence_is_the_return_of_the_bars(tmp_path: Path, kind: str, days: int, sign: int) -> None:
    """Through panel and processors; a close that is missing, today or then, scores zero."""
    bars = market_frame()
    column = f"{'ROC' if kind == 'alpha158' else 'CLOSE'}{days}"
    model = {"column": column, "sign": sign}
    config = load_config(settings(kind, "bars", model))
    panel = build_panel(PanelSpec.of(config), write_bars(tmp_path / "bars", bars), None, segments=("test",))
    feature_set = {"type": kind, "columns": list(panel.columns)}
    network = build(config.model.model_dump(), feature_set=feature_set, step_len=config.data.step_len)
    samples = panel.segments["test"].samples
    found_S = network(panel.segments["test"].source.gather(torch.from_numpy(samples.row_S))).numpy()

    close_TN = bars.pivot(index="datetime", columns="instrument", values="close").sort_index()
    return_TN = (close_TN / close_TN.shift(days) - 1.0).fillna(0.0)
    names = np.array(panel.instruments)[samples.instrument_S]
    expected_S = [
        sign * return_TN.at[date, name] for date, name in zip(panel.dates[samples.date_S], names, strict=True)
    ]
    np.testing.assert_allclose(found_S, expected_S, atol=1e-6)
    assert np.abs(expected_S).max() > 0.01
    assert (found_S == 0.0).any()


def test_persistence_reads_the_table_that_features_writes() -> None:
    table = compute_features(market_frame(instruments=3), set="alpha360").dropna()
    x_NK = torch.tensor(table.drop(columns=["instrument", "datetime", "LABEL0"]).to_numpy(np.float32))
    network = build({"type": "persistence"}, feature_set={"type": "alpha360"}, step_len=60)
    np.testing.assert_allclose(network(x_NK), (1.0 / table["CLOSE1"] - 1.0), atol=1e-6)


def test_a_past_price_that_is_not_known_is_no_return() -> None:
    network = build({"type": "persistence", "column": "A"}, feature_set=TABLE, step_len=1)
    x_N1F = torch.tensor([0.0, -0.0, float("nan"), 1e-45, 0.5, float("inf")]).reshape(-1, 1, 1).expand(-1, 1, 3)
    assert network(x_N1F).tolist() == [0.0, 0.0, 0.0, 0.0, 1.0, -1.0]


@pytest.mark.parametrize(
    ("kind", "changes", "says"),
    [
        ("alpha158", {"processors": {}}, "data.processors.infer.0: RobustZScoreNorm changes the past price"),
        ("alpha158", {"processors": {"infer": ["Fillna"], "learn": ["CSRankNorm"]}}, "data.processors.learn.0"),
        ("alpha158", {"feature_set": {"type": "alpha158", "columns": ["KLEN"]}}, "data.feature_set.columns: ROC5"),
        ("alpha158", {"model": {"column": "KLEN"}}, "model.column: want a past close"),
        ("alpha360", {"model": {"column": "CLOSE60"}}, "model.column: CLOSE60"),
        ("alpha360", {"model": {"column": "CLOSE0"}}, "model.column: want a past close"),
        ("alpha360", {"model": {"sign": 2}}, r"model.sign: want 1 \(momentum\) or -1"),
    ],
)
def test_persistence_refuses_what_it_cannot_read(kind: str, changes: dict[str, Any], says: str) -> None:
    given = dict(changes)
    with pytest.raises(ConfigError, match=says) as caught:
        load_config(settings(kind, "bars", given.pop("model", {}), **given))
    assert "\n" not in str(caught.value)


def with_model(model: dict[str, Any], **parts: Any) -> Config:
    return load_config({**settings("alpha158", "bars", {}), "model": model, **parts})


def test_keys_that_exclude_each_other() -> None:
    with pytest.raises(ConfigError, match=r"model\.alpha: is for estimator ridge"):
        with_model({"type": "linear", "alpha": 1.0})
    with pytest.raises(ConfigError, match=r"cluster\.num_workers: lightgbm is fitted by one process"):
        with_model({"type": "lightgbm"}, cluster={"num_workers": 2})
    assert with_model({"type": "lightgbm"}, cluster={"num_workers": 1}).model.one_process


TREES = {
    "type": "lightgbm",
    "num_leaves": 7,
    "num_boost_round": 40,
    "early_stopping_rounds": 5,
    "lambda_l1": 0.0,
    "lambda_l2": 0.0,
}


def test_trees_learn_and_score_the_same_from_stored_text() -> None:
    pytest.importorskip("lightgbm")
    x_SWF, label_S = (part.float() for part in drawn(noise=0.1))
    network = fitted(TREES, x_SWF, label_S)
    score_S = network(x_SWF)
    assert float((score_S - label_S).var()) < 0.2 * float(label_S.var())
    again = build(TREES, feature_set=TABLE, step_len=WINDOW)
    assert again(x_SWF).tolist() == [0.0] * SAMPLES
    again.load_state_dict({name: value.float() for name, value in network.state_dict().items()})
    assert torch.equal(again(x_SWF), score_S)
    assert torch.equal(again.booster, network.booster)
    assert again(x_SWF[:1]).dtype == torch.float32
    assert again(x_SWF[:0]).shape == (0,)
    assert torch.equal(fitted(TREES, x_SWF, label_S).booster, network.booster)


def test_trees_take_missing_features_and_leave_out_what_weighs_nothing() -> None:
    pytest.importorskip("lightgbm")
    x_SWF, label_S = (part.float() for part in drawn(noise=0.1))
    x_SWF[::7, 0, 1] = float("nan")
    weight_S = (torch.arange(SAMPLES) % 3 > 0).float()
    network = fitted(TREES, x_SWF, label_S.where(weight_S > 0, 1e6), weight_S)
    assert torch.equal(network.booster, fitted(TREES, x_SWF[weight_S > 0], label_S[weight_S > 0]).booster)
    assert bool(network(x_SWF).isfinite().all())
    with pytest.raises(TrainingError, match="no sample of segment train has a label"):
        fitted(TREES, x_SWF, label_S, torch.zeros(SAMPLES))


def test_trees_without_a_split_are_refused() -> None:
    pytest.importorskip("lightgbm")
    with pytest.raises(TrainingError, match=r"lower model\.lambda_l1"):
        fitted({**TREES, "lambda_l1": 1e6}, *(part.float() for part in drawn()))


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raybench.models.networks.lightgbm.find_spec", lambda name: None)
    with pytest.raises(RunError, match=r"pip install 'raybench\[lightgbm\]'"):
        build(TREES, feature_set=TABLE, step_len=WINDOW)
