"""Which recurrent layers run follows from the configuration and the number of windows, and is said beforehand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from raybench.config.fused import LEAST_STEPS, fused_on_cpu, layers_run, layers_to_run
from raybench.config.networks import NETWORKS
from raybench.models import MODELS
from tests.small import small_config

MANY = LEAST_STEPS  # windows, each of several steps


@pytest.mark.parametrize(
    ("changes", "windows", "fused"),
    [
        ({}, MANY, True),
        ({}, LEAST_STEPS // 8, True),
        ({}, LEAST_STEPS // 8 - 1, False),
        ({"cluster.fused_layers": True}, 1, True),
        ({"cluster.fused_layers": False}, MANY, False),
        ({"train.precision": "fp64"}, MANY, False),
        ({"train.precision": "fp64", "cluster.fused_layers": True}, 1, True),
        ({"train.precision": "bf16", "cluster.fused_layers": True}, MANY, False),
        ({"train.compile": True, "cluster.fused_layers": True}, MANY, False),
        ({"model.zoneout": 0.1}, MANY, True),
        ({"model.layer_norm": True}, MANY, False),
    ],
)
def test_what_a_training_runs(tmp_path: Path, changes: dict[str, Any], windows: int, fused: bool) -> None:
    config = small_config(tmp_path, changes)
    assert fused_on_cpu(config, windows) is fused
    assert layers_run(config, windows, gpu=False) == ("fused" if fused else "torch")
    assert layers_run(config, windows, gpu=True) == "torch"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "fused on a CPU with 250,000 windows or more to train on, else torch's own"),
        ({"cluster.fused_layers": True}, "fused on a CPU, torch's own on a GPU"),
        ({"cluster.fused_layers": False}, "torch's own"),
        ({"train.precision": "bf16"}, "torch's own"),
    ],
)
def test_what_is_said_before(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    assert layers_to_run(small_config(tmp_path, changes)) == said


def test_networks_without_recurrent_layers_say_nothing(tmp_path: Path) -> None:
    config = small_config(tmp_path).model_copy(update={"model": NETWORKS["mlp"]()})
    assert layers_to_run(config) is None
    assert layers_run(config, MANY, gpu=False) is None


@pytest.mark.parametrize("kind", sorted(MODELS))
def test_networks_say_whether_they_have_any(kind: str) -> None:
    recurrent = {"gru", "lstm", "alstm", "localformer", "krnn", "sandwich", "gats", "hist", "tra"}
    assert NETWORKS[kind].recurrent is (kind in recurrent)
