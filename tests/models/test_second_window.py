"""A second window beside the first: nothing changes without it, and with it the score depends on both."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from raybench.config.networks import NETWORKS
from raybench.errors import ConfigError
from raybench.models import build
from raybench.models.interface.inputs import Inputs, extra_inputs
from tests.models.networks.test_recurrent_options import KINDS, OPTIONS, F, H, W, make, windows

V, G = 4, 3
each_kind = pytest.mark.parametrize("kind", KINDS)
each_option = pytest.mark.parametrize("option", ["plain", *OPTIONS])


def make_two(kind: str, option: str = "plain") -> Any:
    torch.manual_seed(3)
    keys = {"type": kind, "hidden_size": H, **OPTIONS.get(option, {})}
    columns = [f"COLUMN{i}" for i in range(F)]
    return build(keys, feature_set={"type": "table", "columns": columns}, step_len=W, second_features=G)


def second_windows(samples: int = 7) -> Tensor:
    return torch.randn(samples, V, G, generator=torch.Generator().manual_seed(2))


@each_kind
def test_without_it_nothing_is_there(kind: str) -> None:
    network = make(kind)
    assert {name.partition(".")[0] for name in network.state_dict()} == {"rnn", "fc_out"}
    assert network.fc_out.in_features == H
    assert extra_inputs(network) == {}


@each_option
@each_kind
def test_the_first_window_is_read_as_without_it(kind: str, option: str) -> None:
    """With the second half of the head at zero, the score is that of the first window alone."""
    both, one = make_two(kind, option).eval(), make(kind, **OPTIONS.get(option, {})).eval()
    width = one.fc_out.in_features
    shared = {name: value for name, value in both.state_dict().items() if not name.startswith("second_")}
    both.fc_out.weight.data[:, width:] = 0.0
    one.load_state_dict(shared | {"fc_out.weight": both.fc_out.weight.data[:, :width]})
    found = both(windows(), second_windows())
    torch.testing.assert_close(found, one(windows()), atol=1e-6, rtol=1e-6)


@each_option
@each_kind
def test_every_parameter_learns_and_is_counted(kind: str, option: str) -> None:
    network = make_two(kind, option)
    Inputs(x_BWF=windows(), named={"second": second_windows()}).call(network).square().sum().backward()
    assert all(value.grad is not None for value in network.parameters())
    keys = NETWORKS[kind].model_validate({"type": kind, "hidden_size": H, **OPTIONS.get(option, {})})
    count = keys.parameter_count(F, W) + keys.second_parameters(G)
    assert count == sum(value.numel() for value in network.parameters())


@each_option
@each_kind
def test_each_score_depends_on_both_windows(kind: str, option: str) -> None:
    network = make_two(kind, option).eval()
    x_NWF, second_NVG = windows().requires_grad_(), second_windows().requires_grad_()
    network(x_NWF, second_NVG).sum().backward()
    for value in (x_NWF, second_NVG):
        assert value.grad is not None
        assert (value.grad != 0).flatten(1).any(dim=1).all()


@each_kind
def test_stretches_of_time_change_no_number(kind: str) -> None:
    network = make_two(kind)
    whole = network(windows(), second_windows())
    network.checkpoint_chunks = 3
    torch.testing.assert_close(network(windows(), second_windows()), whole, atol=1e-6, rtol=1e-5)


def test_it_has_to_be_given() -> None:
    with pytest.raises(ConfigError, match=r"data\.second: .*without its second window"):
        make_two("gru")(windows())


@pytest.mark.parametrize("kind", ["mlp", "alstm", "gats"])
def test_other_networks_take_one(kind: str) -> None:
    with pytest.raises(ConfigError, match=rf"data\.second: network {kind} takes one window"):
        build({"type": kind}, feature_set={"type": "alpha360"}, step_len=60, second_features=G)


def test_what_is_declared_is_what_it_takes() -> None:
    network: nn.Module = make_two("lstm")
    assert extra_inputs(network) == {"second": (None, G)}
    assert network(windows(), second=torch.zeros(7, 9, G)).shape == (7,)
