"""Each network against what Qlib computed: output, gradients, number of parameters.

A row of CASES per file in oracle/models. Qlib's whole state is loaded, so names and shapes are compared too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from raybench.config.networks import NETWORKS
from raybench.models import build, load_qlib_state

TWENTY: Mapping[str, Any] = {"type": "alpha158", "columns": [f"COLUMN{i}" for i in range(20)]}
ALPHA360: Mapping[str, Any] = {"type": "alpha360"}
ALSTM_OF_LSTM = {"type": "alstm", "hidden_size": 32, "num_layers": 1, "rnn_type": "LSTM"}
PROTOTYPE = 281_152  # an encoder layer that Qlib copies, stores and never uses


@dataclass(frozen=True)
class Case:
    """What to build for one of Qlib's networks.

    ``parameters`` are Qlib's own, of which ``dead`` are never used there and do not exist here.
    """

    name: str
    model: Mapping[str, Any]
    feature_set: Mapping[str, Any]
    step_len: int
    parameters: int
    dead: int = 0
    recipe: str = "raybench"

    def network(self) -> nn.Module:
        built = build(self.model, feature_set=self.feature_set, step_len=self.step_len, recipe=self.recipe)
        return built.eval()

    @property
    def num_features(self) -> int:
        return 6 if self.feature_set is ALPHA360 else 20


TCN_158 = {"type": "tcn", "n_chans": 32, "kernel_size": 7}
TCN_360 = {"type": "tcn", "n_chans": 128, "kernel_size": 3}
KRNN = {"type": "krnn", "cnn_dim": 8, "rnn_dim": 8, "rnn_dups": 2}
SANDWICH = {"type": "sandwich", "cnn_dim_1": 16, "cnn_dim_2": 16, "rnn_dim_1": 8, "rnn_dim_2": 8, "rnn_dups": 2}
GATS = {"type": "gats", "dropout": 0.7}
CASES = [
    Case("gru_alpha158", {"type": "gru"}, TWENTY, 20, 41_537),
    Case("gru_alpha360", {"type": "gru"}, ALPHA360, 60, 38_849),
    Case("lstm_alpha158", {"type": "lstm"}, TWENTY, 20, 55_361),
    Case("lstm_alpha360", {"type": "lstm"}, ALPHA360, 60, 51_777),
    Case("alstm_alpha158", {"type": "alstm"}, TWENTY, 20, 53_505),
    Case("alstm_alpha360", {"type": "alstm"}, ALPHA360, 60, 52_609),
    Case("alstm_lstm_alpha158", ALSTM_OF_LSTM, TWENTY, 20, 9_729),
    Case("transformer_alpha158", {"type": "transformer"}, TWENTY, 20, 844_865, PROTOTYPE),
    Case("transformer_alpha360", {"type": "transformer"}, ALPHA360, 60, 843_969, PROTOTYPE),
    Case("localformer_alpha158", {"type": "localformer"}, TWENTY, 20, 919_489, PROTOTYPE),
    Case("localformer_alpha360", {"type": "localformer"}, ALPHA360, 60, 918_593, PROTOTYPE),
    Case("tcn_alpha158", TCN_158, TWENTY, 20, 70_337, recipe="qlib"),
    Case("tcn_alpha360", TCN_360, ALPHA360, 60, 448_257),
    Case("krnn_alpha360", KRNN, ALPHA360, 60, 1_889, recipe="qlib"),
    Case("gats_alpha158", {**GATS, "base_model": "LSTM"}, TWENTY, 20, 63_809),
    Case("gats_alpha360", {**GATS, "base_model": "LSTM"}, ALPHA360, 60, 60_225),
    Case("gats_gru_alpha158", {**GATS, "base_model": "GRU"}, TWENTY, 20, 49_985),
    Case("sandwich_alpha360", SANDWICH, ALPHA360, 60, 4_937, recipe="qlib"),
]
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def assert_close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, atol=1e-6, rtol=1e-5)


def size(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.shared
@every_case
def test_equals_qlib(shared: Path, case: Case) -> None:
    stored = load_file(shared / "oracle" / "models" / f"{case.name}.safetensors")
    network = case.network()
    load_qlib_state(network, {name[6:]: value for name, value in stored.items() if name.startswith("state.")})

    score_N = network(stored["input"])
    assert_close(score_N, stored["output"])
    nn.functional.mse_loss(score_N, stored["label"]).backward()
    found = {f"grad.{name}": value.grad for name, value in network.named_parameters()}
    checked = [name for name in stored if name.startswith("grad.")]
    assert checked
    for name in checked:
        gradient = found[name]
        assert gradient is not None, f"{name}: no gradient"
        assert_close(gradient, stored[name])


@pytest.mark.shared
def test_no_stored_result_is_left_out(shared: Path) -> None:
    stored = {path.stem for path in (shared / "oracle" / "models").glob("*.safetensors")}
    assert {case.name for case in CASES} == stored


@pytest.mark.shared
@every_case
def test_size_in_the_table_is_what_qlib_counted(shared: Path, case: Case) -> None:
    counted = json.loads((shared / "oracle" / "models" / "meta.json").read_text(encoding="utf-8"))
    assert case.parameters == counted[case.name]["params"]


@every_case
def test_size_is_qlibs_less_what_is_dead(case: Case) -> None:
    assert size(case.network()) == case.parameters - case.dead


@pytest.mark.parametrize("case", [case for case in CASES if case.recipe == "raybench"], ids=lambda case: case.name)
def test_promised_size_is_the_real_one(case: Case) -> None:
    """``raybench check`` counts parameters without torch."""
    keys = NETWORKS[case.model["type"]].model_validate(case.model)
    assert keys.parameter_count(case.num_features, case.step_len) == size(case.network())


@every_case
def test_a_window_is_a_score(case: Case) -> None:
    network = case.network()
    for batch in (1, 3):
        assert network(torch.zeros(batch, case.step_len, case.num_features)).shape == (batch,)
