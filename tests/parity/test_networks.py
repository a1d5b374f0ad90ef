"""Networks for which there is no file in oracle/models, against Qlib's own: output, gradients, size.

A row of CASES for each of NETWORKS in ``qlib_side/networks.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from raybench.models import build, load_qlib_state
from tests.parity.conftest import RunQlib

pytestmark = pytest.mark.parity

ALPHA158: Mapping[str, Any] = {"type": "alpha158"}
ALPHA360: Mapping[str, Any] = {"type": "alpha360"}


@dataclass(frozen=True)
class Case:
    """What to build for one of Qlib's networks; ``dead`` of its parameters are never used and do not exist here."""

    name: str
    model: Mapping[str, Any]
    feature_set: Mapping[str, Any]
    step_len: int
    dead: int = 0


CASES = [
    Case("mlp_alpha158", {"type": "mlp"}, ALPHA158, 1),
    Case("mlp_alpha360", {"type": "mlp"}, ALPHA360, 60),
    Case("mlp_two_layers", {"type": "mlp", "layers": [64, 32], "act": "SiLU"}, ALPHA360, 60),
    Case("hist_gru", {"type": "hist", "base_model": "GRU"}, ALPHA360, 60, 12_675),
    Case("hist_lstm", {"type": "hist", "base_model": "LSTM"}, ALPHA360, 60, 12_675),
]


@pytest.fixture(scope="module")
def qlib_networks(run_qlib: RunQlib, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("networks")
    run_qlib("networks.py", out)
    return out


def assert_close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_equals_qlib(qlib_networks: Path, case: Case) -> None:
    stored = {name: torch.as_tensor(value) for name, value in np.load(qlib_networks / f"{case.name}.npz").items()}

    def under(prefix: str) -> dict[str, Tensor]:
        return {name.removeprefix(prefix): value for name, value in stored.items() if name.startswith(prefix)}

    network = build(case.model, feature_set=case.feature_set, step_len=case.step_len, recipe="qlib").eval()
    load_qlib_state(network, under("state."))
    score_N = network(**under("input."))
    assert_close(score_N, stored["output"])

    nn.functional.mse_loss(score_N, stored["label"]).backward()
    found = {name: value.grad for name, value in network.named_parameters()}
    expected = under("grad.")
    assert found.keys() == expected.keys()
    for name, gradient in found.items():
        assert gradient is not None
        assert_close(gradient, expected[name])
    assert sum(value.numel() for value in network.parameters()) == int(stored["parameters"]) - case.dead
