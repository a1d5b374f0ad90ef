"""TRA and TabNet against Qlib: scores, and the losses, gradients and running statistics of both training phases."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from raybench.config.networks import tabnet, tra
from raybench.models import load_qlib_state
from raybench.models.interface.inputs import Inputs
from raybench.models.interface.objective import alone
from raybench.models.networks.tabnet import TabNet
from raybench.models.networks.tabnet_pretraining import MaskedReconstruction
from raybench.models.networks.tra import TRA
from tests.parity.conftest import RunQlib

pytestmark = pytest.mark.parity

SAMPLES, VIRTUAL, STEP, SEED = 48, 16, 250, 7
TRA_CASES: Mapping[str, tuple[int, int, dict[str, Any]]] = {
    "tra_alpha360": (6, 60, {}),
    "tra_wide": (
        158,
        10,
        {
            "model_config": {"hidden_size": 32, "rnn_arch": "GRU", "use_attn": False},
            "tra_config": {"hidden_size": 8, "rnn_arch": "GRU", "num_layers": 2, "src_info": "TPE"},
        },
    ),
    "tra_transformer": (20, 20, {"model_type": "Transformer", "tra_config": {"tau": 0.7}}),
}
TABNET_CASES = {"tabnet_alpha158": (158, 1), "tabnet_alpha360": (6, 60)}


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What ``loss`` is given."""

    inputs: Inputs
    label_B: Tensor
    weight_B: Tensor | None = None
    step: int = STEP
    group_sum: Callable[[Tensor], Tensor] = alone


class Stored(dict[str, Tensor]):
    """What Qlib computed, by name."""

    def under(self, prefix: str) -> dict[str, Tensor]:
        """Give what is stored under a prefix, without it."""
        return {name.removeprefix(prefix): value for name, value in self.items() if name.startswith(prefix)}


@pytest.fixture(scope="module")
def qlib_phases(run_qlib: RunQlib, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Stored]:
    out: Path = tmp_path_factory.mktemp("phases")
    run_qlib("phases.py", out)
    return lambda name: Stored({key: torch.as_tensor(value) for key, value in np.load(out / f"{name}.npz").items()})


def assert_close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, atol=1e-6, rtol=1e-5)


def assert_phase(stored: Stored, phase: str, trained: nn.Module, output: Tensor, loss: Tensor) -> None:
    """Compare output, gradients (none more, none less) and running statistics with Qlib's."""
    assert_close(output, stored[f"{phase}.output"])
    trained.zero_grad()
    loss.backward()
    expected = stored.under(f"{phase}.grad.")
    found = {name: value.grad for name, value in trained.named_parameters() if value.grad is not None}
    frozen = {name for name, value in trained.named_parameters() if not value.requires_grad}
    assert found.keys() == expected.keys() - frozen
    for name, gradient in found.items():
        assert_close(gradient, expected[name])
    for name, buffer in trained.named_buffers():
        if (key := f"{phase}.buffer.{name}") in stored:
            assert_close(buffer, stored[key])


@pytest.mark.parametrize("name", TRA_CASES)
def test_tra(qlib_phases: Callable[[str], Stored], name: str) -> None:
    stored, (features, step_len, changes) = qlib_phases(name), TRA_CASES[name]
    keys = tra.TRA.model_validate(changes)
    network = TRA(features, **keys.kwargs, step_len=step_len)
    load_qlib_state(network, stored.under("state."))
    inputs = Inputs(x_BWF=stored["input.x"], named={"hist_loss": stored["input.hist_loss"]})
    batch = Batch(inputs=inputs, label_B=stored["label"])

    score_N = inputs.call(network.eval())
    assert_phase(stored, "evaluation", network, score_N, nn.functional.mse_loss(score_N, batch.label_B))
    assert_close(network.errors(inputs.x_BWF, batch.label_B), stored["remembered"])

    torch.manual_seed(SEED)
    loss = network.loss(inputs.call(network.train()), batch) / SAMPLES
    assert_phase(stored, "training", network, loss, loss)

    phase = network.pretraining()
    assert phase is not None
    loss = phase.loss(inputs.call(phase.train()), batch) / SAMPLES
    renamed = {key.replace("grad.tra.predictors.", "grad.predictors."): value for key, value in stored.items()}
    assert_phase(Stored(renamed), "pretraining", phase, loss, loss)
    assert sum(value.numel() for value in network.parameters()) == keys.parameter_count(features, step_len)


@pytest.mark.parametrize("name", TABNET_CASES)
def test_tabnet(qlib_phases: Callable[[str], Stored], name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stored, (features, step_len) = qlib_phases(name), TABNET_CASES[name]
    keys = tabnet.TabNet.model_validate({"vbs": VIRTUAL})
    network = TabNet(features, **keys.kwargs, step_len=step_len, recipe="qlib")
    load_qlib_state(network, stored.under("state."))
    x_NK, label_N = stored["input.x"], stored["label"]
    score_N = network.eval()(x_NK)
    assert_phase(stored, "evaluation", network, score_N, nn.functional.mse_loss(score_N, label_N))

    network, x_NK, label_N = network.double(), x_NK.double(), label_N.double()
    score_N = network.train()(x_NK)
    assert_phase(stored, "training", network, score_N, nn.functional.mse_loss(score_N, label_N))

    load_qlib_state(network, stored.under("state."))
    batch = Batch(inputs=Inputs(x_BWF=x_NK), label_B=label_N)
    reconstruction = network.pretraining()
    assert reconstruction is not None
    shared = tuple(f"steps.{step}.fea_tran.shared.{i}.fc." for step in range(5) for i in range(2))
    weights = {key: value for key, value in stored.under("decoder.").items() if not key.startswith(shared)}
    reconstruction.double().decoder.load_state_dict(weights)
    monkeypatch.setattr(MaskedReconstruction, "_mask", lambda self, x_NK: stored["hidden"].double())
    loss = reconstruction.loss(batch.inputs.call(reconstruction.train()), batch) / SAMPLES
    assert_phase(stored, "pretraining", reconstruction, loss, loss)
    assert sum(value.numel() for value in network.parameters()) == keys.parameter_count(features, step_len)
