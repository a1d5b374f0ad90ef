"""MLP: the order of its inputs, and batch normalisation in small batches and in the stored state."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from safetensors.torch import load, save
from torch import nn

from raybench.config.networks import NETWORKS
from raybench.models import build, unflatten_alpha360
from raybench.models.layers.batch_norm import BatchNorm

ALPHA360 = {"type": "alpha360"}


def make(**keys: Any) -> nn.Module:
    torch.manual_seed(0)
    return build({"type": "mlp", "layers": [16], **keys}, feature_set=ALPHA360, step_len=60)


@pytest.mark.parametrize("layers", [[], [7], [16, 8, 4]])
def test_promised_size_is_the_real_one(layers: list[int]) -> None:
    keys = {"type": "mlp", "layers": layers, "act": "SiLU"}
    network = build(keys, feature_set={"type": "alpha158"}, step_len=2)
    promised = NETWORKS["mlp"].model_validate(keys).parameter_count(158, 2)
    assert promised == sum(parameter.numel() for parameter in network.parameters())
    assert network(torch.zeros(3, 2, 158)).shape == (3,)


def test_windows_are_read_as_flat_rows() -> None:
    network, x_NK = make().eval(), torch.randn(5, 360)
    assert torch.equal(network(unflatten_alpha360(x_NK)), network(x_NK))


def test_a_score_depends_on_its_own_window_alone() -> None:
    network, x_NWF = make(dropout=0.0), torch.randn(8, 60, 6)
    assert not torch.allclose(network(x_NWF)[:2], network(x_NWF[:2]), atol=1e-3)  # in training it does not
    network.eval()
    torch.testing.assert_close(network(x_NWF)[:2], network(x_NWF[:2]))


def test_running_statistics_travel_with_the_weights() -> None:
    trained, x_NWF = make(), torch.randn(64, 60, 6)
    for _ in range(3):
        trained(3.0 * x_NWF + 1.0)
    stored = load(save(trained.state_dict()))
    fresh = make()
    assert not torch.allclose(fresh.eval()(x_NWF), trained.eval()(x_NWF), atol=1e-2)
    fresh.load_state_dict({name: value.float() for name, value in stored.items()})  # as a run is opened
    assert torch.equal(fresh(x_NWF), trained(x_NWF))


def test_one_sample_is_trained_on_with_running_statistics() -> None:
    layer, x_NU = BatchNorm(4), torch.randn(32, 4) * 2.0 + 1.0
    layer(x_NU)
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    alone_1U = layer(x_NU[:1])
    alone_1U.sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.abs().min() > 0
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())
    torch.testing.assert_close(alone_1U, layer.eval()(x_NU[:1]))
